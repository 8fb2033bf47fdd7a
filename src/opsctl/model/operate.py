"""What the jobs that start and stop services need of an engine beyond reading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from opsctl.model.boot import BootState
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container, Engine, HealthResult, MemInfo, ProbeSpec, ProbeState, StackFacts
from opsctl.model.plan import GuardFact
from opsctl.model.ports import Script
from opsctl.model.stack import Then


@dataclass(frozen=True)
class DropletFacts(StackFacts):
    """StackFacts, and which services' `then` steps have been done since their container started."""

    done: Mapping[str, str] = field(default_factory=dict)  # service → mark, see `then_mark`
    boot: BootState = field(default_factory=BootState)


@dataclass(frozen=True)
class Diagnosis:
    """Why a service failed, as far as one look can tell. Sizes in bytes."""

    service: str
    status: str
    exit_code: int
    restarts: int
    oom: str  # "", limit (the container's own), host, or unknown (killed for memory, by whom is not known)
    memory_limit: int
    error: str  # the engine's own words
    health_log: tuple[HealthResult, ...]
    log: tuple[str, ...]  # the last lines
    kernel: tuple[str, ...]  # the kernel's lines about it
    memory: MemInfo | None
    disk_free: int | None  # where the engine keeps its data
    cause: str  # in words; "" where nothing points anywhere
    advice: str  # what to do, a command where there is one
    stale_port: int | None = None  # a port it wants that the engine holds for no container


class Operator(Engine, Protocol):
    """An engine whose containers can be changed: builds scripts; whoever holds the lease runs them."""

    def facts(self, *, cancel: Cancel) -> DropletFacts:
        """Read the state of the stack in one remote call; changes nothing."""
        ...

    def create(self, services: Sequence[str]) -> Script:
        """As Engine.create; prints one line a container of the project: service, id."""
        ...

    def parse_created(self, output: str) -> Mapping[str, str]:
        """Service → container id from what `create` printed."""
        ...

    def parse_started(self, output: str) -> Mapping[str, str]:
        """Container id → what went wrong, "" where it started, from what `start` and `stop` printed."""
        ...

    def parse_since(self, output: str) -> str:
        """The host's clock (s) right before `start` started anything."""
        ...

    def remove(self, containers: Sequence[str]) -> Script:
        """Remove containers by id; their volumes stay."""
        ...

    def guards(self, facts: Sequence[GuardFact]) -> Script:
        """Fail with the fact that does not hold any more; exit status 86 then."""
        ...

    def probe(
        self,
        specs: Sequence[ProbeSpec],
        *,
        interval: float,
        since: str = "",
        watch: Mapping[str, str] | None = None,
        settle: float = 0.0,
        one_shot: frozenset[str] = frozenset(),
        tolerant: frozenset[str] = frozenset(),
        grace: float = 0.7,
    ) -> Script:
        """As Engine.probe; `since` is the host's clock (s) from which on the engine's events count.

        `watch` (service → container id) names what is up already and must stay so, `settle` for how many seconds
        after the last probe passed. The failure of a `tolerant` service does not end the loop. `one_shot` services
        pass by exiting with 0. A first try may take `grace` seconds beyond its gate's own bound.
        """
        ...

    def parse_available(self, line: str) -> int | None:
        """MemAvailable in bytes, if this line of a script's output carries it."""
        ...

    def then(self, service: str, container: str, step: Then, *, stdin: bytes | None, mark: str) -> Script:
        """Run one `then` step in a container; a non-empty `mark` is left on the host when it succeeded."""
        ...

    def diagnose(self, service: str, container: str) -> Script:
        """Read everything about a failed service in one call; changes nothing."""
        ...

    def parse_diagnosis(self, service: str, output: str, *, seen: ProbeState | None = None) -> Diagnosis:
        """What `diagnose` printed, with the likely cause.

        `seen` is what a probe saw before: a container that is restarted at once may look fine by now.
        """
        ...

    def usage(self, containers: Sequence[Container]) -> Script:
        """Read what these running containers use now."""
        ...

    def parse_usage(self, output: str) -> Mapping[str, int]:
        """Container id → bytes that stopping it would give back."""
        ...
