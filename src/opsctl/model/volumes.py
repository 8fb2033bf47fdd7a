"""A named volume and a folder of the host: what is known of both, and what became of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from opsctl.model.run import Changed

Phase = Literal["copying", "moved", "returning", "returned"]
Towards = Literal["host", "volume"]


@dataclass(frozen=True)
class Record:
    """What opsctl remembers of a volume on the droplet. In `moved` and `returning` the folder has the data.

    `checksum` is that of the side which was left, when it was left; `folder` is the device and inode of the target.
    """

    volume: str
    path: str
    phase: Phase
    checksum: str = ""
    at: str = ""
    by: str = ""
    folder: str = ""

    def lines(self) -> str:
        """The record as its file has it, but for the folder, which the droplet adds."""
        known = {"volume": self.volume, "path": self.path, "phase": self.phase, "checksum": self.checksum}
        return "\n".join(f"{key} {value}" for key, value in {**known, "at": self.at, "by": self.by}.items())

    @property
    def rests(self) -> bool:
        """Whether nothing was under way."""
        return self.phase in ("moved", "returned")


@dataclass(frozen=True)
class Place:
    """A folder of the droplet, or what is where it would be. Bytes; `files` counts folders and links, too."""

    path: str
    exists: bool = False
    folder: bool = False
    empty: bool = True
    identity: str = ""  # device:inode
    real: str = ""
    size: int = 0
    files: int = 0
    free: int = 0  # bytes on its file system
    free_files: int | None = None  # inodes there, None where they are not counted


@dataclass(frozen=True)
class Mounting:
    """A container that mounts the volume."""

    id: str
    status: str
    project: str
    service: str
    name: str


@dataclass(frozen=True)
class VolumeFacts:
    """A volume and the folder as one look at the droplet found them."""

    record: Record | None
    exists: bool
    driver: str
    options: Mapping[str, str]
    volume: Place
    host: Place
    mounting: tuple[Mounting, ...]
    root: bool
    lacks: tuple[str, ...]  # programs that are not there


@dataclass(frozen=True)
class Side:
    """One side when both were proved equal. The checksum covers names, kinds, owners, modes, sizes and contents."""

    place: str
    files: int
    bytes: int
    checksum: str


@dataclass(frozen=True)
class VolumeMoved:
    """What became of a volume's data. Seconds for `downtime`, None where nothing was stopped.

    `state`: copied (the first pass alone), moved, unchanged, removed (the old volume), would-…, or failed.
    """

    dry_run: bool
    volume: str
    source: str
    target: str
    services: tuple[str, ...]
    state: str
    file: str
    change: tuple[str, ...]  # of the compose file, as a unified diff
    downtime: float | None
    sides: tuple[Side, ...]
    release: str
    changed: Changed
