"""A run of a migration as it is kept in its folder, and as the commands show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from opsctl.model.migrate import Progress, Receipt
from opsctl.model.migrate_run import Foreseen, Preview

Action = Literal["run", "finish", "rollback", "replay"]


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds: all that is needed to build the same migration again, and no secret."""

    run_id: str
    migration: str
    argv: tuple[str, ...]  # the words after `opsctl` that began it
    cwd: str
    stack: str  # the stack file's path, "" without one
    user: str
    origin: str
    started: str  # UTC, ISO 8601
    opsctl: str
    action: Action = "run"  # what its process does, or did last
    pid: int = 0  # 0: it has ended
    born: str = ""  # boot id and start time of that process: a number alone may be somebody else's by now
    source: str = ""  # product, version and address, for people
    sink: str = ""
    ledger: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    sealed: str = ""  # the store whose export_key encrypts the export
    error: str = ""  # what it failed with
    code: str = ""  # that error's code: `interrupted` when somebody stopped it


@dataclass(frozen=True)
class RunShown:
    """One run, for `status` and `list`. `next` is what to type, empty where nothing is left to do.

    `state`: running, paused, waiting or draining while its process works; interrupted when that is gone and never said
    how it ended; else the outcome: complete, partial, stopped, failed, finished, rolled-back.
    """

    run_id: str
    migration: str
    state: str
    action: Action
    started: str
    source: str
    sink: str
    folder: str
    sealed: str = ""  # the store of the stack file whose export_key opens the export; "" where it is not encrypted
    progress: Progress | None = None
    receipt: Receipt | None = None
    error: str = ""
    next: tuple[str, ...] = ()


@dataclass(frozen=True)
class MigrationKind:
    """One migration that there is. `source` and `sink` are kinds of store, for people."""

    name: str
    source: str
    sink: str
    help: str


@dataclass(frozen=True)
class MigrationListing:
    """Every migration, and the runs that this machine knows, the newest first."""

    migrations: tuple[MigrationKind, ...]
    runs: tuple[RunShown, ...]


@dataclass(frozen=True)
class RunListing:
    """The runs that were asked for, the newest first."""

    runs: tuple[RunShown, ...]


@dataclass(frozen=True)
class RunControlled:
    """What a run that works was told: it hears it between two batches."""

    run_id: str
    told: Literal["pause", "run"]


@dataclass(frozen=True)
class Migrated:
    """What a migration, or an action on its run, came to. `preview` (of `finish` and `rollback`:
    `foreseen`) only of a dry run, `receipt` only of a real one."""

    migration: str
    action: Action
    run_id: str | None  # None: a dry run leaves nothing behind
    folder: str | None
    source: str
    sink: str
    preview: Preview | None = None
    foreseen: Foreseen | None = None
    receipt: Receipt | None = None
    next: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunExported:
    """A run's export as a table: how many records, and how many lines of it a later line of the same key replaced."""

    run_id: str
    path: str
    format: Literal["csv", "jsonl"]
    records: int
    replaced: int
    bytes: int
    whole: bool  # the run has ended: nothing will be added
    sealed: bool = False  # the run's own export is encrypted; this file is not


# What a command prints with --json: of a run that works on a droplet it shows how that is.
Outcome = Migrated | RunListing
Resumed = Migrated | RunControlled | RunListing  # a run that waits is told to go on
