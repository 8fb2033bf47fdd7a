"""What `opsctl host` reports: opsctl on a droplet, and what a command changed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsctl.model.run import RunResult


@dataclass(frozen=True)
class HostFile:
    """A file that opsctl put there. Bytes."""

    path: str
    size: int
    mode: str


@dataclass(frozen=True)
class HostUnit:
    """A systemd unit of opsctl's."""

    name: str
    enabled: str
    active: str


@dataclass(frozen=True)
class HostStatus:
    """opsctl on one droplet. `there` and `here` are versions, "" where there is none. Bytes."""

    installed: bool
    there: str
    here: str
    app: str  # the folder in use
    python: str
    files: tuple[HostFile, ...]
    units: tuple[HostUnit, ...]
    size: int
    count: int  # files, and their size, as they were carried over
    disk: int  # what the app's folder takes, with what Python compiled
    boot: str  # replay or docker
    up: tuple[str, ...]  # what is brought up after a boot
    policies: Mapping[str, str]  # service → the restart policy it had before
    hold: str  # why the replay would stand aside now
    problems: tuple[str, ...]
    next: str


@dataclass(frozen=True)
class HostChanged:
    """What `host install`, `upgrade` or `remove` did, or with `dry_run` would do. Bytes."""

    dry_run: bool
    plan: Mapping[str, Any]
    notes: tuple[str, ...]
    app: str
    packages: Mapping[str, str]
    files: tuple[HostFile, ...]  # that were put there, or were removed
    units: tuple[str, ...]
    kept: tuple[str, ...] = field(default=())  # what stays on the droplet after a removal
    run: RunResult | None = None
