"""What a cloud provider can do with a droplet, whoever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from opsctl.model.cancel import Cancel

Tell = Callable[[str], None]
"""Takes the last state seen while something is waited for."""


@dataclass(frozen=True)
class CloudDroplet:
    """A droplet as the provider knows it. Bytes for sizes; `price` is US dollars a month."""

    id: int
    name: str
    status: str  # new, active, off, archive
    address: str  # public IPv4, "" without one
    private_address: str
    region: str
    size: str  # the slug: s-1vcpu-2gb
    vcpus: int
    memory: int
    disk: int
    price: float
    volumes: tuple[str, ...]
    tags: tuple[str, ...]
    created: str  # UTC, ISO 8601
    locked: bool  # an action is under way
    console: str  # where a person reaches its console when nothing else answers


@dataclass(frozen=True)
class CloudAction:
    """Something the provider does to a droplet; times are UTC, ISO 8601, "" while they are unknown."""

    id: int
    kind: str  # reboot, power_cycle, snapshot, resize, …
    status: str  # in-progress, completed, errored
    started: str
    completed: str


@dataclass(frozen=True)
class CloudSize:
    """A size that can be had. Bytes; `price` is US dollars a month."""

    slug: str
    memory: int
    vcpus: int
    disk: int
    price: float
    regions: tuple[str, ...]
    available: bool
    kind: str = ""  # the provider's own word: Basic, General Purpose, …


@dataclass(frozen=True)
class CloudSnapshot:
    """A copy of a droplet's disk or of a volume. Bytes for `size`: what is billed."""

    id: str
    name: str
    created: str  # UTC, ISO 8601
    size: int
    of: str  # the droplet's number or the volume's id
    of_kind: Literal["droplet", "volume"]


@dataclass(frozen=True)
class CloudVolume:
    """A volume. Bytes."""

    id: str
    name: str
    size: int
    region: str


@dataclass(frozen=True)
class CloudRecord:
    """A DNS record. `name` is relative to the domain, `@` for the domain itself; `ttl` in seconds."""

    id: int
    domain: str
    type: str
    name: str
    data: str
    ttl: int
    priority: int | None = None
    port: int | None = None
    weight: int | None = None
    flags: int | None = None
    tag: str | None = None

    @property
    def host(self) -> str:
        """The whole name, as resolvers know it."""
        return self.domain if self.name == "@" else f"{self.name}.{self.domain}"


class Cloud(Protocol):
    """A provider. What changes something is followed to its real end: an errored action raises, a power state is read.

    Everything raises UnreachableError (network, 5xx after retries), ConfigError (token missing or refused),
    UsageError (no such droplet), StepFailed (errored action), DeadlineExceeded, Interrupted.
    """

    def droplets(self, *, cancel: Cancel) -> Sequence[CloudDroplet]:
        """All droplets of the account, page by page."""
        ...

    def droplet(self, ref: int | str, *, cancel: Cancel) -> CloudDroplet:
        """One droplet, by number or by name."""
        ...

    def reboot(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudAction:
        """Ask its system to start again; over when the provider says so, which is before SSH answers."""
        ...

    def power_cycle(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudAction:
        """Cut the power and switch it on again; the droplet is active afterwards."""
        ...

    def power_on(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudAction:
        """Switch on a droplet that is off."""
        ...

    def power_off(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudAction:
        """Switch it off: its system is asked first, and cut off when it does not go by itself; it is off afterwards."""
        ...

    def resize(self, ref: int, size: str, *, disk: bool, cancel: Cancel, tell: Tell) -> CloudAction:
        """Give a droplet that is off another size; with `disk` for good. It stays off."""
        ...

    def settled(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudDroplet:
        """The droplet once nothing is under way on it any more."""
        ...

    def actions(self, ref: int, *, cancel: Cancel) -> Sequence[CloudAction]:
        """Its latest actions, the newest first."""
        ...

    def sizes(self, *, cancel: Cancel) -> Sequence[CloudSize]:
        """What can be had, the cheapest first."""
        ...

    def volumes(self, ref: int, *, cancel: Cancel) -> Sequence[CloudVolume]:
        """The volumes attached to a droplet."""
        ...

    def snapshots(self, ref: int, *, cancel: Cancel) -> Sequence[CloudSnapshot]:
        """The snapshots of a droplet and of the volumes attached to it, the oldest first."""
        ...

    def snapshot(self, ref: int, name: str, *, cancel: Cancel, tell: Tell) -> CloudSnapshot:
        """Copy a droplet's disk; its volumes are not in it. One of that name that is there already is given back."""
        ...

    def snapshot_volume(self, volume: str, name: str, *, cancel: Cancel) -> CloudSnapshot:
        """Copy a volume. One of that name that is there already is given back."""
        ...

    def delete_snapshot(self, snapshot: str, *, cancel: Cancel) -> None:
        """Delete a snapshot for good; one that is gone already is no error."""
        ...

    def domains(self, *, cancel: Cancel) -> Sequence[str]:
        """The domains whose DNS the provider serves."""
        ...

    def records(self, domain: str, *, cancel: Cancel) -> Sequence[CloudRecord]:
        """All records of a domain."""
        ...

    def put_record(self, record: CloudRecord, *, cancel: Cancel) -> CloudRecord:
        """Create a record (id 0) or change the one with its id; what the provider has afterwards."""
        ...

    def delete_record(self, record: CloudRecord, *, cancel: Cancel) -> None:
        """Delete a record; one that is gone already is no error."""
        ...
