"""The stack file and compose's x-opsctl as one, with phases from depends_on where nobody gave any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path as FilePath
from typing import Any

from opsctl.model import stackfile_build
from opsctl.model.engine import ComposeService
from opsctl.model.stack import Origin, Service, Stack
from opsctl.model.stackfile_check import validate
from opsctl.model.stackfile_problem import Path, Problem, config_error, dotted, nearest, shown_path
from opsctl.model.stackfile_schema import ServiceEntry

DERIVED = "derived from depends_on"
_KEYS = tuple(item.name for item in fields(Service) if item.name != "name")


def merge(stack: Stack, compose: Mapping[str, ComposeService], *, compose_file: str = "docker-compose.yml") -> Stack:
    """The stack with every service of compose, x-opsctl filled in (the stack file wins, key by key).

    Raises ConfigError with everything that does not fit together. Without compose the stack is returned as it is.
    """
    if not compose:
        return stack
    merged = _Merge(stack, compose, compose_file)
    merged.unknown_services()
    merged.fill()
    merged.phases()
    merged.later_phases()
    if merged.problems:
        raise config_error(merged.problems)
    return replace(stack, services=merged.services, origins=merged.origins)


def derive_phases(compose: Mapping[str, ComposeService]) -> dict[str, int]:
    """Phases from depends_on: 1 for what depends on nothing, else one after the last of what it depends on.

    Services of a profile only get one where another service needs them. Raises ConfigError for a cycle.
    """
    wanted = [name for name, service in compose.items() if not service.profiles]
    phases: dict[str, int] = {}
    for name in wanted:
        _depth(name, compose, phases, ())
    return phases


def _depth(name: str, compose: Mapping[str, ComposeService], phases: dict[str, int], above: tuple[str, ...]) -> int:
    if name in above:
        circle = " → ".join((*above[above.index(name) :], name))
        raise config_error([Problem("the compose file", ("services", name, "depends_on"), 0, f"a circle: {circle}")])
    if name not in phases:
        needs = [needed for needed in compose[name].depends_on if needed in compose]
        phases[name] = 1 + max((_depth(needed, compose, phases, (*above, name)) for needed in needs), default=0)
    return phases[name]


@dataclass
class _Merge:
    """One merge under way."""

    stack: Stack
    compose: Mapping[str, ComposeService]
    compose_file: str
    services: dict[str, Service] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.origins.update(self.stack.origins)

    def problem(self, path: Path, what: str, expected: str = "", meant: str = "") -> None:
        origin = self.origins.get(dotted(path)) or self.origins.get(dotted(path[:2]))
        file, line = (self._file(origin), origin.line) if origin else (self.compose_file, 0)
        self.problems.append(Problem(file, path, line, what, expected, meant))

    def _file(self, origin: Origin) -> str:
        path = FilePath(self.stack.path or "")
        return shown_path(path) if origin.line and origin.source == path.name else origin.source

    def unknown_services(self) -> None:
        """Names that compose doesn't have; a redundant service may be gone already, but not be a slip of the pen."""
        for name in self.stack.services:
            if name not in self.compose:
                what = f"{self.compose_file} has no such service, or only in a profile that isn't active"
                near = nearest(name, self.compose)
                self.problem(("services", name), what, f"one of {', '.join(sorted(self.compose))}", near)
        for name in self.stack.redundant:
            near = nearest(name, self.compose, cutoff=0.8)
            if name not in self.compose and near:
                self.problem(("redundant", name), f"{self.compose_file} has no such service", "", near)

    def fill(self) -> None:
        """Every service of compose, with what the stack file says, else x-opsctl, else the default."""
        # The stack file's order first: one-by-one services start in it, and compose sorts by name.
        for name in dict.fromkeys((*(each for each in self.stack.services if each in self.compose), *self.compose)):
            service = self.compose[name]
            ours = self.stack.services.get(name, Service(name))
            theirs = self._extension(service)
            values: dict[str, Any] = {}
            for key in _KEYS:
                given_here = dotted(("services", name, key)) in self.stack.origins
                if not given_here and key in service.x_opsctl and theirs is not None:
                    values[key] = getattr(theirs, key)
                    self._note(("services", name, key), service.x_opsctl[key])
            self.services[name] = replace(ours, **values)

    def _note(self, path: Path, value: object) -> None:
        self.origins[dotted(path)] = Origin(f"{self.compose_file} (x-opsctl)")
        if isinstance(value, Mapping):
            for key, item in value.items():
                self._note((*path, str(key)), item)

    def _extension(self, service: ComposeService) -> Service | None:
        if not service.x_opsctl:
            return None
        prefix: Path = ("services", service.name)
        if "${" in str(service.x_opsctl):
            what = "a variable under x-opsctl, where compose does not replace it"
            self.problems.append(
                Problem(self.compose_file, (*prefix, "x-opsctl"), 0, what, "the value itself, or the stack file")
            )
            return None
        entry, problems = validate(
            ServiceEntry, dict(service.x_opsctl), file=self.compose_file, prefix=prefix, line=lambda _: 0
        )
        shown = [replace(each, path=(*prefix, "x-opsctl", *each.path[2:])) for each in problems]
        self.problems += shown
        return None if entry is None else stackfile_build.service(service.name, entry)

    def phases(self) -> None:
        """Phases from depends_on: all of them where nobody gave any, else those that a given phase needs."""
        given = {name: service.phase for name, service in self.services.items() if service.phase is not None}
        if not given:
            derived = derive_phases(self.compose)
        else:
            _ = derive_phases(self.compose)  # a circle is an error, whoever gave the phases
            derived = self._needed(given)
        for name, phase in derived.items():
            self.services[name] = replace(self.services[name], phase=phase)
            self.origins[dotted(("services", name, "phase"))] = Origin(DERIVED)

    def _needed(self, given: Mapping[str, int]) -> dict[str, int]:
        derived: dict[str, int] = {}
        for name, phase in sorted(given.items(), key=lambda item: item[1]):
            todo = list(self.compose[name].depends_on)
            while todo:
                needed = todo.pop()
                if needed in self.compose and needed not in given and needed not in derived:
                    derived[needed] = phase
                    todo += self.compose[needed].depends_on
        return derived

    def later_phases(self) -> None:
        """A service can't wait for one that starts in a later phase."""
        for name, service in self.services.items():
            for needed in self.compose[name].depends_on:
                other = self.services.get(needed)
                if service.phase is None or other is None or other.phase is None or other.phase <= service.phase:
                    continue
                way: Path = ("services", name, "phase")
                what = (
                    f"{name} is in phase {service.phase} and depends on {needed}, "
                    f"which is in phase {other.phase} ({self._where(needed)})"
                )
                self.problem(way, what, f"{needed} in phase {service.phase} or earlier, or {name} later")

    def _where(self, name: str) -> str:
        origin = self.origins.get(dotted(("services", name, "phase")))
        if origin is None:
            return "by default"
        return f"{origin.source} line {origin.line}" if origin.line else origin.source
