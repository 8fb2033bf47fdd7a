"""What every kind of sandbox droplet can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError

Progress = Callable[[str], None]
"""Takes one line for a person: what is being done, or what it waits for."""


class Power(StrEnum):
    """The two ways to start a droplet again: asking its system, or cutting its power."""

    REBOOT = "reboot"
    CYCLE = "power-cycle"


class Switch(StrEnum):
    """What a provider does to a droplet's power; nobody waits for the system that comes up or goes down."""

    ON = "on"
    OFF = "off"  # the power is cut
    CYCLE = "cycle"  # cut, and on again
    ASK_OFF = "ask-off"  # its system is asked, and may not listen
    ASK_REBOOT = "ask-reboot"


class Condition(StrEnum):
    """What was found of a droplet."""

    RUNNING = "running"
    STOPPED = "stopped"
    BROKEN = "broken"  # parts are there, but it cannot be used: `up` mends it
    ABSENT = "absent"


@dataclass(frozen=True)
class Spec:
    """One droplet to run. Everything that tells it from another is in here and in its folder."""

    name: str  # unique on this machine: `dev`, or `fleet-2` with --count
    folder: Path  # its own state folder, mode 0700, there before `up` and removed after `down`
    port: int  # sshd's port on 127.0.0.1, free when the spec was made
    memory: int  # bytes
    authorized_key: str  # one line of authorized_keys, for root, alex and deploy
    host_key: str  # sshd's own key: OpenSSH's private format, ed25519
    host_key_public: str  # its public line, without a host name


@dataclass(frozen=True)
class Seen:
    """What `status` found. `detail` says why it is broken, or how it runs."""

    condition: Condition
    detail: str = ""
    boot_id: str = ""


class PortTaken(OpsError):
    """A droplet that has to be made anew finds its port in use: it may be given another one."""

    code = "port-taken"


class Kind(Protocol):
    """One way to run a droplet. Methods may be called again at any time, also after a crash in the middle."""

    @property
    def name(self) -> str:
        """`container` or `vm`."""
        ...

    def unusable(self) -> str | None:
        """Why this kind cannot work on this machine; None when it can. Quick: nothing is built or started."""
        ...

    def prepare(self, progress: Progress, cancel: Cancel) -> None:
        """Build what every droplet of this kind needs and keep it in the cache; quick when it is there.

        Raises ConfigError when something must be installed first.
        """
        ...

    def up(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        """Leave the droplet running with sshd answering on its port, whatever was there before.

        A droplet that already runs is left alone; parts of a broken one are removed first. Raises PortTaken,
        with nothing left behind, when its port is in use, else OpsError.
        """
        ...

    def status(self, spec: Spec) -> Seen:
        """Look, change nothing; never raises for a droplet in a bad state."""
        ...

    def power(self, spec: Spec, how: Power, progress: Progress, cancel: Cancel) -> None:
        """Start the droplet again and wait until sshd answers; its disk stays, its boot id changes."""
        ...

    def down(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        """Remove the droplet and everything it left outside its folder; nothing to remove is fine."""
        ...

    def is_on(self, spec: Spec) -> bool:
        """Whether it has power, whatever its system does."""
        ...

    def switch(self, spec: Spec, how: Switch, cancel: Cancel) -> None:
        """Work its power. Returns when that is done, which is before its system is up or down."""
        ...

    def resize(self, spec: Spec, memory: int, cancel: Cancel) -> None:
        """Give a droplet that is off another amount of memory, in bytes."""
        ...

    def snapshot(self, spec: Spec, name: str, cancel: Cancel) -> int:
        """Copy its disk, also while it runs (it stands still meanwhile); the copy's size in bytes."""
        ...

    def restore(self, spec: Spec, name: str, cancel: Cancel) -> None:
        """Put the disk of a droplet that is off back to a snapshot. Raises StepFailed when that one fits no more."""
        ...

    def drop_snapshot(self, spec: Spec, name: str, cancel: Cancel) -> None:
        """Remove a snapshot; none of that name is fine."""
        ...

    def purge(self, progress: Progress) -> None:
        """Remove what `prepare` left outside the cache folder (images of an engine)."""
        ...
