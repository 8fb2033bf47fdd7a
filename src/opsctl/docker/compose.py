"""What compose says, as facts: its configuration, its dry run, its complaints. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsctl.model.engine import ComposeService, Container
from opsctl.model.units import parse_size

_CONDITION = "service_started"
_DRY_RUN = re.compile(r"Container (?P<name>\S+)\s+(?P<verb>\w+)\s*$")


@dataclass(frozen=True)
class ComposeCall:
    """How compose is called for a project: the arguments before its subcommand."""

    files: tuple[str, ...]
    env_files: tuple[str, ...]
    project: str
    working_dir: str

    def arguments(self) -> tuple[str, ...]:
        """The words after `docker compose`."""
        words: list[str] = ["--profile", "*"]
        for path in self.files:
            words += ["-f", path]
        for path in self.env_files:
            words += ["--env-file", path]
        if self.project:
            words += ["-p", self.project]
        if self.working_dir:
            words += ["--project-directory", self.working_dir]
        return tuple(words)


def parse_services(config: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, ComposeService]:
    """The services of `docker compose config --format json`.

    `raw` is the configuration before interpolation: compose 2.26 drops extensions from the interpolated JSON.
    """
    uninterpolated = raw.get("services") or {}
    return {
        name: _service(name, body or {}, _extension(body or {}, uninterpolated.get(name) or {}))
        for name, body in (config.get("services") or {}).items()
    }


def _extension(body: Mapping[str, Any], raw: Mapping[str, Any]) -> Mapping[str, Any]:
    value = body.get("x-opsctl", raw.get("x-opsctl"))
    return value if isinstance(value, Mapping) else {}


def _service(name: str, body: Mapping[str, Any], extension: Mapping[str, Any]) -> ComposeService:
    return ComposeService(
        name=name,
        image=str(body.get("image") or ""),
        has_build=bool(body.get("build")),
        depends_on=_depends_on(body.get("depends_on")),
        ports=dict(_ports(body.get("ports") or ())),
        health_test=_health_test(body.get("healthcheck")),
        memory_limit=_memory_limit(body),
        restart=_restart(body),
        profiles=tuple(body.get("profiles") or ()),
        x_opsctl=extension,
    )


def _restart(body: Mapping[str, Any]) -> str:
    """The policy that compose gives the container: without `restart` it is `deploy`'s."""
    if body.get("restart"):
        return str(body["restart"])
    policy = (body.get("deploy") or {}).get("restart_policy") or {}
    name = {"any": "always", "on-failure": "on-failure"}.get(str(policy.get("condition") or ""), "no")
    return f"on-failure:{policy['max_attempts']}" if name == "on-failure" and policy.get("max_attempts") else name


def _depends_on(value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name): str((how or {}).get("condition") or _CONDITION) for name, how in value.items()}
    return {str(name): _CONDITION for name in value} if isinstance(value, Sequence) else {}


def _ports(entries: Iterable[Any]) -> Iterable[tuple[int, int]]:
    for entry in entries:
        if not isinstance(entry, Mapping) or entry.get("protocol", "tcp") != "tcp":
            continue
        published = str(entry.get("published") or "")
        if published.isdigit():
            yield int(entry["target"]), int(published)


def _health_test(value: object) -> tuple[str, ...]:
    if not isinstance(value, Mapping) or value.get("disable"):
        return ()
    test = value.get("test") or ()
    words = ("CMD-SHELL", test) if isinstance(test, str) else tuple(str(word) for word in test)
    return () if words[:1] == ("NONE",) else words


def _memory_limit(body: Mapping[str, Any]) -> int:
    limits = (((body.get("deploy") or {}).get("resources") or {}).get("limits")) or {}
    value = limits.get("memory") or body.get("mem_limit") or 0
    try:
        return parse_size(value)
    except ValueError:
        return 0


def parse_drift(output: str, containers: Iterable[Container]) -> frozenset[str]:
    """The services that `compose --dry-run up` would recreate."""
    services = {container.name: container.service for container in containers}
    names = (match["name"] for match in _verbs(output) if match["verb"] in ("Recreate", "Recreated"))
    return frozenset(services[name] for name in names if name in services)


def _verbs(output: str) -> Iterable[re.Match[str]]:
    return (match for line in output.splitlines() if (match := _DRY_RUN.search(line)))


def normalised(image: str) -> str:
    """An image reference the way `docker image ls` writes it: no default registry, `latest` spelled out."""
    name = image.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    return name if "@" in name or ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def missing_images(
    services: Mapping[str, ComposeService], present: Iterable[str], containers: Iterable[Container], project: str
) -> frozenset[str]:
    """The services that have no container and whose image is not on the droplet.

    A built service without an `image:` is named by its project, with `-` since compose 2 and `_` before.
    """
    have = {normalised(image) for image in present}
    created = {container.service for container in containers if container.project == project}
    lacking = set()
    for name, service in services.items():
        names = [service.image] if service.image else [f"{project}-{name}", f"{project}_{name}"]
        if name not in created and not any(normalised(each) in have for each in names):
            lacking.add(name)
    return frozenset(lacking)
