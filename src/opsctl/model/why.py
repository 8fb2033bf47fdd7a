"""Why something died: what one remote read says about it, and the answer in words. Sizes in bytes, times ISO 8601."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container, MemInfo
from opsctl.model.memory_facts import OomEvent
from opsctl.model.operate import Diagnosis
from opsctl.model.ports import Shell


@dataclass(frozen=True)
class Task:
    """One row of the kernel's table of tasks at a kill. `anon` is what it held itself."""

    pid: str
    name: str
    anon: int


@dataclass(frozen=True)
class KernelKill:
    """One kill as the kernel logged it, with the largest tasks then and the line itself."""

    event: OomEvent
    pid: str
    tasks: tuple[Task, ...]  # the largest first
    line: str
    own: bool  # it happened inside this droplet, as far as the paths say


@dataclass(frozen=True)
class Room:
    """One file system: `kind` is space (bytes) or inodes (how many)."""

    kind: str
    path: str
    size: int
    used: int
    free: int


@dataclass(frozen=True)
class WhyFacts:
    """What one read says. `engine_error` is "" where the engine answered."""

    boot_id: str
    uptime: float
    now: int  # the host's clock, seconds since the epoch
    nested: bool  # the droplet is a container: the kernel log is the whole machine's
    root_user: bool
    cpus: int
    load: float
    memory: MemInfo
    stalled: Mapping[str, float]  # memory, cpu, io → percent of the last minute in which something stood still
    rooms: tuple[Room, ...]
    engine_error: str
    engine_code: int
    engine_said: tuple[str, ...]  # its unit's state and last lines, where it is down
    containers: tuple[Container, ...]
    names: Mapping[str, str]  # container id → service, else name; also where the engine is down
    looked: Mapping[str, Diagnosis]  # container id → what a closer look says, where something is wrong
    kills: tuple[KernelKill, ...] | None  # None: the kernel log could not be read
    before_known: bool  # the log of the boot before is there
    signs: tuple[tuple[int, str], ...]  # (boot, line): what the kernel says when something else is wrong
    clean_end: bool | None  # whether the boot before ended as it should; None is unknown
    last_sign: str  # of the boot before: its last line's time
    processes: Mapping[str, str]  # pid → container id
    comms: Mapping[str, str]  # pid → process name
    programs: Mapping[str, str]  # container id → the name of the program that it starts
    audit: tuple[Mapping[str, object], ...]


class WhyReader(Protocol):
    """Reads what died on a droplet, in one remote call."""

    def read(self, shell: Shell, *, service: str, cancel: Cancel) -> WhyFacts:
        """Everything; `service` "" for all. Raises OpsError."""
        ...


@dataclass(frozen=True)
class Kill:
    """One kill for want of memory, in names. `boot` -1 is the one before; `times`: so often it happened alike."""

    time: str
    boot: int
    scope: str  # limit (a container's own), host, unknown
    victim: str
    victim_process: str
    victim_bytes: int | None
    culprit: str
    culprit_process: str
    culprit_bytes: int | None
    same: bool  # the victim is the culprit
    limit: int | None
    invoked_by: str
    times: int
    text: str


@dataclass(frozen=True)
class Death:
    """One service that is not as it should be. `since` in seconds, `at` in UTC; both None where unknown."""

    service: str
    container: str
    state: str
    since: float | None
    at: str | None
    exit_code: int | None
    restarts: int
    oom: str  # "", limit, host, unknown
    cause: str
    health: str
    log: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Evidence:
    """One fact, and where it comes from."""

    source: str
    text: str


@dataclass(frozen=True)
class Why:
    """The answer for one droplet. `answer` is sentences that can be pasted into a chat as they are."""

    droplet: str
    taken: str
    verdict: str  # ok, engine, disk, host-memory, limit, boot, service, pressure
    answer: tuple[str, ...]
    deaths: tuple[Death, ...]
    kills: tuple[Kill, ...]
    evidence: tuple[Evidence, ...]
    next: tuple[str, ...]
    notes: tuple[str, ...]
    boot_id: str
    booted: str
    uptime: float
    before_ended: str  # clean, cut, unknown
    memory: MemInfo
    reserve: int
