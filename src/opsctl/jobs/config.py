"""Every value that is in force on a droplet, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.engine import Engine, StackFacts
from opsctl.model.errors import OpsError
from opsctl.model.result import DropletResult
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet, Gate, Origin, Redundant, Service, Stack
from opsctl.model.stackfile import merge
from opsctl.model.stackfile_problem import dotted
from opsctl.model.stackfile_vars import LazySecrets
from opsctl.model.store_url import WAY_KEYS

Plain = str | int | float | bool | None | list[str]
MASK = "•••"


@dataclass(frozen=True)
class ConfigValue:
    """One value: its path, and the source it comes from (line 0 where there is none). Bytes and seconds."""

    path: str
    value: Plain
    source: str
    line: int = 0


@dataclass(frozen=True)
class ConfigReport:
    """What is in force on one droplet. `complete` says whether the droplet's compose file was read too."""

    stack_file: str | None
    compose_files: tuple[str, ...]
    project: str
    complete: bool
    values: tuple[ConfigValue, ...]


def show(engine: Engine | None, stack: Stack, droplet: Droplet, *, cancel: Cancel) -> DropletResult[ConfigReport]:
    """The values on one droplet; without an engine what the stack file alone says.

    A droplet that cannot be read gives that too, and the error beside it.
    """
    if engine is None:
        return DropletResult(droplet.name, report(stack, droplet, None))
    try:
        facts = engine.facts(cancel=cancel)
    except OpsError as error:
        return DropletResult(droplet.name, report(stack, droplet, None), error.info, error.exit_code)
    name = Path(facts.compose_files[0]).name if facts.compose_files else "docker-compose.yml"
    return DropletResult(droplet.name, report(merge(stack, facts.compose, compose_file=name), droplet, facts))


def report(stack: Stack, droplet: Droplet, facts: StackFacts | None) -> ConfigReport:
    """The report that follows from a merged stack and what was found; pure."""
    return ConfigReport(
        stack_file=stack.path,
        compose_files=facts.compose_files if facts else droplet.compose,
        project=facts.project if facts else droplet.project or "",
        complete=facts is not None,
        values=tuple(_values(stack, droplet, facts)),
    )


def _values(stack: Stack, droplet: Droplet, facts: StackFacts | None) -> Iterator[ConfigValue]:
    yield from _droplet(stack, droplet, facts)
    for name in sorted(stack.services, key=lambda each: (stack.services[each].phase or 999, each)):
        yield from _service(stack, stack.services[name])
    for name, redundant in stack.redundant.items():
        yield from _redundant(stack, name, redundant)
    for name, secrets in stack.stores.items():
        yield from _secrets(stack, ("stores", name), secrets)
    yield from _secrets(stack, ("alerts",), stack.alerts)
    for name, probe in stack.probes.items():
        yield _of(stack, ("probes", name), probe.kind)


def _of(stack: Stack, path: tuple[str, ...], value: Plain, origin: Origin | None = None) -> ConfigValue:
    found = origin or stack.origins.get(dotted(path)) or Origin("default")
    return ConfigValue(dotted(path), value, found.source, found.line)


def _redundant(stack: Stack, name: str, redundant: Redundant) -> Iterator[ConfigValue]:
    at = ("redundant", name)
    short = stack.origins.get(dotted(at))  # `prometheus: "why"` has no line of its own for the reason
    yield _of(stack, (*at, "reason"), redundant.reason, stack.origins.get(dotted((*at, "reason"))) or short)
    if redundant.since:
        own = stack.origins.get(dotted((*at, "since")))
        yield _of(stack, (*at, "since"), redundant.since, own or stack.origins.get("redundant.since"))


def _droplet(stack: Stack, droplet: Droplet, facts: StackFacts | None) -> Iterator[ConfigValue]:
    at = ("droplets", droplet.name)
    found = Origin("found on the droplet")
    yield _of(stack, (*at, "address"), droplet.address)
    yield _of(stack, (*at, "key"), droplet.key)
    yield _of(stack, (*at, "known_hosts"), droplet.known_hosts)
    compose, project = list(droplet.compose), droplet.project
    adopted = found if facts and not compose else None
    yield _of(stack, (*at, "compose"), list(facts.compose_files) if facts and not compose else compose, adopted)
    yield _of(stack, (*at, "env_file"), list(droplet.env_file))
    named = found if facts and not project else None
    yield _of(stack, (*at, "project"), facts.project if facts and not project else project, named)
    yield _of(stack, (*at, "reserve"), droplet.reserve)
    yield _of(stack, (*at, "docker", "sudo"), droplet.sudo)
    seen = facts.engine.socket if facts and not droplet.socket else ""
    yield _of(stack, (*at, "docker", "socket"), seen or droplet.socket or "auto", found if seen else None)
    if not droplet.provider:
        yield _of(stack, (*at, "provider"), None)
    for key, value in droplet.provider.items():
        yield _of(stack, (*at, "provider", key), value)
    yield _of(stack, (*at, "boot"), droplet.boot)


def _service(stack: Stack, service: Service) -> Iterator[ConfigValue]:
    at = ("services", service.name)
    yield _of(stack, (*at, "phase"), service.phase)
    yield _of(stack, (*at, "memory"), service.memory)
    yield from _gate(stack, at, service.gate)
    yield _of(stack, (*at, "proof"), list(service.proof))
    steps = [f"{step.kind}: {' '.join(step.words)}" for step in service.then]
    yield _of(stack, (*at, "then"), steps)
    yield _of(stack, (*at, "one_by_one"), service.one_by_one)
    yield _of(stack, (*at, "optional"), service.optional)


def _gate(stack: Stack, at: tuple[str, ...], gate: Gate) -> Iterator[ConfigValue]:
    probes = 0
    for item in fields(Gate):
        value = getattr(gate, item.name)
        if item.name != "within" and value is None:
            continue
        probes += item.name != "within"
        if item.name == "within" and not probes:
            yield _of(stack, (*at, "gate"), "its own health check")
        yield _of(stack, (*at, "gate", item.name), list(value) if isinstance(value, tuple) else value)


def _secrets(stack: Stack, at: tuple[str, ...], secrets: Mapping[str, Secret]) -> Iterator[ConfigValue]:
    for name in secrets:
        described = secrets.describe(name) if isinstance(secrets, LazySecrets) else ""
        shown = described if described.startswith("${") else MASK
        if at[0] == "stores" and name in WAY_KEYS:
            shown = secrets[name].reveal()
        yield _of(stack, (*at, name), shown)
