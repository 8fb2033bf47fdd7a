"""What the engine and compose say about a droplet, and the protocol through which jobs ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.ports import Script
from opsctl.model.stack import Gate


@dataclass(frozen=True)
class HealthResult:
    """One run of a container's own health check."""

    exit_code: int
    output: str
    ended: str


@dataclass(frozen=True)
class Container:
    """One container as the engine knows it. Times are the engine's RFC 3339 stamps; sizes in bytes, 0 = unlimited."""

    id: str
    name: str
    service: str  # compose's label, "" outside compose
    project: str
    image: str
    image_id: str
    status: str  # created, running, paused, restarting, removing, exited, dead
    health: str  # "", starting, healthy, unhealthy
    health_log: tuple[HealthResult, ...]
    exit_code: int
    oom_killed: bool
    error: str
    restart_count: int
    restart_policy: str
    started_at: str
    finished_at: str
    pid: int
    memory_limit: int
    ports: Mapping[int, tuple[str, int]]  # container TCP port → (address, published port)
    addresses: tuple[str, ...]  # on its networks
    config_hash: str
    working_dir: str
    config_files: tuple[str, ...]
    health_test: tuple[str, ...] = ()
    oneoff: bool = False


@dataclass(frozen=True)
class ComposeService:
    """A service of the compose file, as `docker compose config` resolves it."""

    name: str
    image: str
    has_build: bool
    depends_on: Mapping[str, str]  # service → condition
    ports: Mapping[int, int]  # container TCP port → published port
    health_test: tuple[str, ...]
    memory_limit: int  # bytes, 0 = none
    restart: str
    profiles: tuple[str, ...]
    x_opsctl: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MemInfo:
    """The host's memory, in bytes."""

    total: int
    available: int
    free: int
    swap_total: int
    swap_free: int


@dataclass(frozen=True)
class EngineInfo:
    """Which engine answers, and how."""

    version: str
    compose_version: str  # "" when there is no compose v2
    rootless: bool
    snap: bool
    cgroup_version: str
    cgroup_driver: str
    root_dir: str
    socket: str


@dataclass(frozen=True)
class Begun:
    """A release that a deploy or a rollback (`back`) has begun and not finished; `busy`: one is at it right now."""

    release: str
    back: bool
    busy: bool
    current: str  # the release in force, "" for none
    command: str
    up: tuple[str, ...]  # the services that shall run in the end


@dataclass(frozen=True)
class StackFacts:
    """Everything `startup` decides from, read in one remote call."""

    engine: EngineInfo
    memory: MemInfo
    boot_id: str
    uptime: float
    project: str
    compose_files: tuple[str, ...]
    compose: Mapping[str, ComposeService]
    containers: tuple[Container, ...]
    drift: frozenset[str]  # services whose container differs from what the file says now
    missing_images: frozenset[str]  # services whose image is not on the droplet
    file_hash: str  # over the compose files and env files
    begun: Begun | None = None

    def of(self, service: str) -> Container | None:
        """The (not one-off) container of a service in this project, if there is one."""
        for container in self.containers:
            if container.service == service and container.project == self.project and not container.oneoff:
                return container
        return None


@dataclass(frozen=True)
class ProbeSpec:
    """What to ask one service until it answers."""

    service: str
    container: str  # id
    gate: Gate
    health_test: tuple[str, ...]
    ports: Mapping[int, tuple[str, int]]
    proof: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbeState:
    """One change in what a probe sees. `state` is passed, waiting, exited, oom, restarting, unhealthy or gone."""

    service: str
    state: str
    detail: str


class Engine(Protocol):
    """Docker and compose on one droplet. Scripts are built purely; whoever holds the lease runs those that change."""

    def facts(self, *, cancel: Cancel) -> StackFacts:
        """Read the state of the stack in one remote call; changes nothing."""
        ...

    def create(self, services: Sequence[str]) -> Script:
        """Create what is missing (compose), and nothing else: no recreate, build, pull or start."""
        ...

    def start(self, containers: Sequence[str]) -> Script:
        """Start containers by id, side by side."""
        ...

    def stop(self, containers: Sequence[str], *, grace: float | None) -> Script:
        """Stop containers by id, side by side; `grace` in seconds, None for the container's own."""
        ...

    def probe(self, specs: Sequence[ProbeSpec], *, interval: float) -> Script:
        """A loop that prints every change of state of every service until all have passed or one has failed."""
        ...

    def parse_probe(self, line: str) -> ProbeState | None:
        """One line of `probe`'s output; None for what is not a state."""
        ...
