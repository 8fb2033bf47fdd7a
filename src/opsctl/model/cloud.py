"""What a cloud provider can do with a droplet, whoever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
