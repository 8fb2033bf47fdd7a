"""The memory report as frozen data; None is unknown, sizes are bytes, shares are fractions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from opsctl.model.memory_facts import DiskUse, Pressure


class Verdict(StrEnum):
    """What to think of a container's memory; thresholds in docs/memory.md."""

    HEALTHY = "healthy"
    UNDER_USED = "under-used"
    AT_RISK = "at risk"
    REDUNDANT = "redundant"
    NO_LIMIT = "no limit"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ContainerMemory:
    """One container. `limit` 0 is unlimited; `limit_share` is `used` of `limit`; `age` is seconds since it started."""

    id: str
    name: str
    service: str
    project: str
    image: str
    status: str
    age: float | None
    used: int | None
    unreclaimable: int | None
    limit: int | None
    limit_share: float | None
    swap: int | None
    peak: int | None
    restarts: int | None
    oom_kills: int | None
    log_bytes: int | None
    verdict: Verdict
    reason: str

    @property
    def label(self) -> str:
        """The service's name, else the container's."""
        return self.service or self.name


@dataclass(frozen=True)
class LedgerItem:
    """One part of a row, measured on its own."""

    name: str
    bytes: int | None
    source: str


@dataclass(frozen=True)
class LedgerRow:
    """One row of the ledger: never what is left of the others. `key` is stable, `title` is for people."""

    key: str  # containers, docker, services, kernel, cache, free
    title: str
    bytes: int | None
    source: str
    items: tuple[LedgerItem, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """Where MemTotal goes. `residual` is MemTotal less all rows: None when a row is unknown."""

    total: int
    rows: tuple[LedgerRow, ...]
    residual: int | None
    residual_share: float | None


@dataclass(frozen=True)
class HostMemory:
    """The droplet as a whole. Swap traffic and OOM kills count since its boot; `uptime` in seconds."""

    name: str
    kernel: str
    engine: str
    engine_problem: str  # "", or why the engine did not answer: none, denied, down, no-client
    cgroup_version: int | None
    nested: bool
    boot_id: str
    uptime: float | None
    total: int
    available: int
    used: int
    free: int
    swap_total: int | None
    swap_used: int | None
    swapped_in: int | None
    swapped_out: int | None
    oom_kills: int | None
    pressure: Pressure | None
    reserve: int


@dataclass(frozen=True)
class Limits:
    """What the running containers may take together, beside what there is."""

    total: int  # sum of the limits that bite
    share: float  # of MemTotal
    limited: int  # how many containers have one
    unlimited: tuple[str, ...]  # who has none, or one above MemTotal


@dataclass(frozen=True)
class OomKill:
    """One kill. `scope` is limit (a container's own), host, or unknown."""

    time: str
    boot: int
    scope: str
    victim: str
    victim_process: str
    victim_bytes: int | None
    culprit: str
    culprit_bytes: int | None
    limit: int | None
    invoked_by: str


@dataclass(frozen=True)
class DiskPlace:
    """One file system and how full it is."""

    path: str
    size: int
    used: int
    available: int
    used_share: float


@dataclass(frozen=True)
class DiskReport:
    """Docker's disk."""

    places: tuple[DiskPlace, ...]
    images: DiskUse | None
    volumes: DiskUse | None
    build_cache: DiskUse | None
    logs: int | None
    reclaimable: int | None  # images and build cache that nothing uses; volumes are never counted as free


@dataclass(frozen=True)
class Finding:
    """Something to know, in words. `bytes` is what it is about; `next` is a command, "" where there is none yet."""

    kind: str
    level: str  # problem, warning, info
    resource: str  # memory, disk
    bytes: int
    text: str
    next: str = ""


@dataclass(frozen=True)
class MemoryReport:
    """The whole report of one droplet."""

    droplet: str
    taken: str  # UTC, ISO 8601
    summary: str  # the constraint, in words
    host: HostMemory
    ledger: Ledger
    containers: tuple[ContainerMemory, ...]
    limits: Limits
    ooms: tuple[OomKill, ...] | None
    oom_source: str
    disk: DiskReport
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]  # what could not be read, and why
