"""What a plan of `startup`, `stop` and `restart` consists of, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from opsctl.model.plan import Action


@dataclass(frozen=True)
class Keep(Action):
    """Leave a service as it is: up already, or done already."""

    kind: ClassVar[str] = "keep"
    service: str
    state: str


@dataclass(frozen=True)
class Create(Action):
    """Let compose create the containers that are missing."""

    kind: ClassVar[str] = "create"
    services: tuple[str, ...]
    missing: tuple[str, ...]  # what does not exist now: dependencies are created along with what depends on them
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expected:
    """The memory that a service is expected to use, in bytes, and who says so."""

    service: str
    bytes: int
    source: str


@dataclass(frozen=True)
class MemoryGate(Action):
    """Go on only if what starts next fits into what is available. Bytes."""

    kind: ClassVar[str] = "memory"
    expected: tuple[Expected, ...]
    reserve: int
    enforce: bool = True
    optional: bool = False
    after: tuple[str, ...] = ()

    @property
    def needs(self) -> int:
        """What starts next is expected to use, without the reserve."""
        return sum(each.bytes for each in self.expected)


@dataclass(frozen=True)
class Start(Action):
    """Start a service's container; "" where it is created by this very plan."""

    kind: ClassVar[str] = "start"
    service: str
    container: str
    optional: bool = False


@dataclass(frozen=True)
class AwaitGate(Action):
    """Ask a service until it answers. Seconds for `within`."""

    kind: ClassVar[str] = "gate"
    service: str
    container: str
    http: str | None = None
    tcp: int | None = None
    sql: str | None = None
    command: tuple[str, ...] | None = None
    status: int | None = None
    within: float = 60.0
    proof: tuple[str, ...] = ()
    health_test: tuple[str, ...] = ()
    one_shot: bool = False
    optional: bool = False


@dataclass(frozen=True)
class RunThen(Action):
    """A step after a service's gate. `digest` is of the local SQL file, "" without one."""

    kind: ClassVar[str] = "then"
    service: str
    number: int
    step: str  # command, sql or opsctl
    words: tuple[str, ...]
    within: float
    path: str = ""  # of a local SQL file
    digest: str = ""
    mark: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Settle(Action):
    """Watch for some seconds that nothing falls over again."""

    kind: ClassVar[str] = "settle"
    seconds: float
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stop(Action):
    """Stop a service's container; `grace` in seconds, None for the container's own."""

    kind: ClassVar[str] = "stop"
    service: str
    container: str = ""
    grace: float | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remove(Action):
    """Remove the containers that this run created; their volumes stay."""

    kind: ClassVar[str] = "remove"
    services: tuple[str, ...] = field(default=())
