"""What a plan of `migrate volumes-to-host` has beyond a deploy's, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opsctl.model.plan import Action
from opsctl.model.volumes import Phase


@dataclass(frozen=True)
class CopyVolume(Action):
    """Copy while the service runs, and read both sides. `left` is the checksum that the target must still have.

    Bytes for `size`; `folder` is the target's device and inode, "" for one that is made or is empty.
    """

    kind: ClassVar[str] = "volume-copy"
    volume: str
    source: str
    target: str
    towards: str
    path: str  # the folder of the host
    folder: str
    left: str
    size: int


@dataclass(frozen=True)
class ProveVolume(Action):
    """Copy what has changed since, with the service stopped, and prove that both sides are the same."""

    kind: ClassVar[str] = "volume-prove"
    volume: str
    source: str
    target: str
    towards: str
    path: str
    folder: str
    size: int
    containers: tuple[str, ...]  # started again if this run goes away meanwhile


@dataclass(frozen=True)
class MarkVolume(Action):
    """Write down where the data is, before anything can write there."""

    kind: ClassVar[str] = "volume-mark"
    volume: str
    path: str
    phase: Phase
    checksum: str = ""  # "" takes the one that was proved


@dataclass(frozen=True)
class StartAgain(Action):
    """Start what was stopped again, with the compose file of before; unless the new container has been started."""

    kind: ClassVar[str] = "volume-again"
    service: str
    container: str


@dataclass(frozen=True)
class RemoveVolume(Action):
    """Remove the volume that was left behind, and what is remembered of it."""

    kind: ClassVar[str] = "volume-remove"
    volume: str
