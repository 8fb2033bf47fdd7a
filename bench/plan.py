"""What is to be started, read from the sandbox's stack file: the same plan for every contestant."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


@dataclass(frozen=True)
class Service:
    """One service: how it proves that it is there (`http` is a URL on the droplet), and the SQL file that follows."""

    name: str
    http: str = ""
    sql: str = ""
    command: str = ""
    tcp: int = 0
    then_sql: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Services in waves: those of one wave are started together, the next wave after all of them answered.

    `containers` maps a service to its container's name, once they exist.
    """

    compose: str
    waves: tuple[tuple[Service, ...], ...]
    containers: Mapping[str, str] = field(default_factory=dict)

    @property
    def services(self) -> tuple[Service, ...]:
        """All services, in the order in which they start."""
        return tuple(service for wave in self.waves for service in wave)

    def lines(self) -> str:
        """The plan for the shell scripts, a service a line; shell.sh names the columns."""
        rows = []
        for number, wave in enumerate(self.waves, start=1):
            for each in wave:
                sql = each.then_sql[0] if each.then_sql else "-"
                rows.append("\t".join([str(number), each.name, self.containers[each.name], *probe_of(each), sql]))
        return "\n".join(rows) + "\n"

    def variables(self) -> str:
        """The plan for the peers, as JSON."""
        waves = []
        for wave in self.waves:
            members = []
            for each in wave:
                kind, target = probe_of(each)
                known = {"name": each.name, "container": self.containers[each.name]}
                members.append({**known, "kind": kind, "target": target, "then": list(each.then_sql)})
            waves.append({"names": [each.name for each in wave], "services": members})
        schema = next((path for each in self.services for path in each.then_sql), "")
        return json.dumps({"compose": self.compose, "schema": schema, "waves": waves})


def probe_of(service: Service) -> tuple[str, str]:
    """The one probe that proves most: its kind and target."""
    for kind in ("sql", "http", "command"):
        if target := getattr(service, kind):
            return kind, target
    return "tcp", str(service.tcp)


def read_plan(stack_file: Path, droplet: str, *, phase: int) -> Plan:
    """The phases up to `phase`; one-by-one services get a wave each, in the order of the file."""
    data = YAML(typ="safe").load(stack_file.read_text())
    waves: list[tuple[Service, ...]] = []
    services = {name: entry or {} for name, entry in data["services"].items()}
    for number in range(1, phase + 1):
        members = {name: entry for name, entry in services.items() if entry.get("phase") == number}
        together = tuple(_service(name, entry) for name, entry in members.items() if not entry.get("one_by_one"))
        waves += [together] if together else []
        waves += [(_service(name, entry),) for name, entry in members.items() if entry.get("one_by_one")]
    compose = data["droplets"][droplet]["compose"]
    return Plan(compose if isinstance(compose, str) else compose[0], tuple(waves))


def _service(name: str, entry: dict[str, Any]) -> Service:
    gate = entry.get("gate") or {}
    http = gate.get("http", "")
    steps = entry.get("then") or []
    return Service(
        name=name,
        http=f"http://127.0.0.1{http}" if http.startswith(":") else http,
        sql=gate.get("sql", ""),
        command=shlex.join(gate.get("command", [])),
        tcp=int(gate.get("tcp", 0)),
        then_sql=tuple(step["sql"] for step in steps if isinstance(step, dict) and "sql" in step),
    )
