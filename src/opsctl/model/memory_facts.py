"""What one remote read says about a droplet's memory; None is unknown, sizes are bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.ports import Shell


@dataclass(frozen=True)
class Pressure:
    """How much of the time tasks stood still for want of memory: percent over 10, 60 and 300 s; totals in µs."""

    some: tuple[float, float, float]
    full: tuple[float, float, float]
    some_total: int
    full_total: int


@dataclass(frozen=True)
class Usage:
    """One memory cgroup. `limit` 0 is unlimited; `kernel` is the part of `unreclaimable` the kernel holds for it."""

    used: int | None = None
    unreclaimable: int | None = None
    kernel: int | None = None
    shmem: int | None = None
    cache: int | None = None
    limit: int | None = None
    swap: int | None = None
    peak: int | None = None
    oom_kills: int | None = None
    limit_hits: int | None = None
    pressure: Pressure | None = None


@dataclass(frozen=True)
class ContainerFacts:
    """One container as engine and cgroup know it. `memory` is None for one that does not run."""

    id: str
    name: str
    service: str  # compose's label, "" outside compose
    project: str
    image: str
    status: str
    started_at: str
    restarts: int | None
    oom_killed: bool
    exit_code: int
    configured_limit: int | None
    memory: Usage | None
    log_bytes: int | None = None

    @property
    def running(self) -> bool:
        """Whether it has processes, and so memory."""
        return self.status in ("running", "paused", "restarting")


@dataclass(frozen=True)
class Group:
    """Processes under one name (a daemon, a unit, a program); `anon` is their private memory."""

    name: str
    count: int | None
    anon: int
    pss: int | None = None
    swap: int | None = None


@dataclass(frozen=True)
class OomEvent:
    """One kill as the kernel logged it. Ids are of containers, "" where none is named."""

    time: str
    boot: int  # 0 this boot, -1 the one before
    scope: str  # limit, host, unknown
    victim_id: str
    victim_process: str
    victim_bytes: int | None
    limit_id: str
    limit: int | None
    largest_process: str
    largest_bytes: int | None
    largest_is_victim: bool
    invoked_by: str


@dataclass(frozen=True)
class DiskUse:
    """What one kind of thing takes on the disk; `reclaimable` is what no container uses."""

    count: int
    size: int
    reclaimable: int


@dataclass(frozen=True)
class Filesystem:
    """One file system, as statvfs sees it."""

    path: str
    size: int
    used: int
    available: int


@dataclass(frozen=True)
class DiskFacts:
    """Docker's disk; None where it was not answered in time or may not be read."""

    filesystems: tuple[Filesystem, ...] = ()
    images: DiskUse | None = None
    volumes: DiskUse | None = None
    build_cache: DiskUse | None = None
    logs: int | None = None


@dataclass(frozen=True)
class RootCgroup:
    """The cgroup that holds everything this view can see: what a droplet inside a container is measured by."""

    anon: int | None = None
    shmem: int | None = None
    cache: int | None = None  # file pages without shared memory
    kernel: int | None = None
    kernel_reclaimable: int | None = None


@dataclass(frozen=True)
class MemoryFacts:
    """Everything the report is made from."""

    hostname: str
    kernel: str
    taken: int  # seconds since the epoch, the host's clock
    root_user: bool
    nested: bool  # /proc/meminfo is not the kernel's own: the droplet is a container
    cgroup_version: int | None
    engine: str  # version, "" when the engine did not answer
    engine_problem: str  # "", none, denied, down, no-client
    engine_socket: str
    engine_via: str  # api, cli (no curl there), ""
    meminfo: Mapping[str, int]
    vmstat: Mapping[str, int]
    pressure: Pressure | None
    boot_id: str
    uptime: float | None
    containers: tuple[ContainerFacts, ...]
    daemons: tuple[Group, ...] | None
    services: tuple[Group, ...] | None
    daemons_source: str
    services_source: str
    root: RootCgroup
    ooms: tuple[OomEvent, ...] | None
    oom_source: str
    disk: DiskFacts = field(default_factory=DiskFacts)


@dataclass(frozen=True)
class MemorySample:
    """The quick read: what is available, and each running container by id."""

    available: int
    total: int
    containers: Mapping[str, ContainerFacts]

    def of(self, service: str, project: str = "") -> ContainerFacts | None:
        """The running container of a compose service, if there is one."""
        for each in self.containers.values():
            if each.service == service and project in ("", each.project):
                return each
        return None


class MemoryReader(Protocol):
    """Reads a droplet's memory through a shell; one remote call each."""

    def read(self, shell: Shell, *, cancel: Cancel, patience: float) -> MemoryFacts:
        """Everything; `patience` seconds are given to the engine's disk figures. Raises OpsError."""
        ...

    def sample(self, shell: Shell, *, cancel: Cancel) -> MemorySample:
        """Only what is available and what containers use. Raises OpsError."""
        ...
