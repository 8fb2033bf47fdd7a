"""What `status` says, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from opsctl.model.engine import MemInfo


class Level(StrEnum):
    """How a service stands."""

    OK = "ok"
    STARTING = "starting"
    IDLE = "idle"  # not running, and nobody asked for it
    BAD = "bad"


@dataclass(frozen=True)
class ServiceStatus:
    """One service of the stack. Bytes for memory; `since` is seconds in this state, None where unknown."""

    name: str
    phase: int | None
    state: str  # healthy, running, starting, unhealthy, restarting, paused, created, done, stopped, killed, …
    level: Level
    wanted: bool  # its phase was started, and it is not optional
    container: str
    since: float | None
    exit_code: int | None
    restarts: int
    image: str
    memory: int | None  # what stopping it would give back
    memory_expected: int | None
    memory_limit: int | None
    ports: tuple[str, ...]
    differs: bool  # from what the compose file says now
    detail: str = ""


@dataclass(frozen=True)
class OtherContainer:
    """A container that is not a service of the stack, and why it is shown."""

    name: str
    reason: str
    state: str
    image: str
    since: float | None
    memory: int | None


@dataclass(frozen=True)
class Problem:
    """Something wrong, and what to type next. `level` is failed or warning."""

    service: str
    text: str
    next: str
    level: str = "failed"


@dataclass(frozen=True)
class Status:
    """One droplet. `phase` is the highest that was started, 0 for none; `uptime` in seconds, sizes in bytes."""

    engine: str
    compose: str
    project: str
    uptime: float
    boot_id: str
    memory: MemInfo
    reserve: int
    phase: int
    phases: tuple[int, ...]
    services: tuple[ServiceStatus, ...]
    others: tuple[OtherContainer, ...]
    problems: tuple[Problem, ...]
    healthy: bool  # everything that should run does, and nothing crashed
