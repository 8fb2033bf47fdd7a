"""Migrations: look first, copy and verify, finish, take back, try the refused ones again."""

from __future__ import annotations

from opsctl.jobs import (
    migrate_engine,
    migrate_finish,
    migrate_foresee,
    migrate_preview,
    migrate_replay,
    migrate_rollback,
)
from opsctl.model.migrate import Receipt
from opsctl.model.migrate_run import Foreseen, Migration, Preview

__all__ = ["Migration", "dry_run", "finish", "foresee", "replay", "rollback", "run"]


def dry_run(m: Migration) -> Preview:
    """What a run would do: nothing is written. Raises UnreachableError, ConfigError, Interrupted."""
    return migrate_preview.preview(m)


def foresee(m: Migration, action: str) -> Foreseen:
    """What `finish` or `rollback` would do, counted: nothing is written, and nobody's lease is needed."""
    return migrate_foresee.finish(m) if action == "finish" else migrate_foresee.rollback(m)


def run(m: Migration, *, delete: bool = False) -> Receipt:
    """Copy and verify what is new or changed; with `delete`, then remove from the source what was verified.

    Raises Interrupted after draining (with the command that goes on), ConfigError (the sink does not take such items),
    LeaseHeld (another run has the ledger), UnreachableError, OpsError (disk full).
    """
    receipt = migrate_engine.copy(m)
    return migrate_finish.finish(m, copied=receipt) if delete else receipt


def finish(m: Migration) -> Receipt:
    """Remove from the source what the ledger says is verified, each read back once more, unless it changed there."""
    return migrate_finish.finish(m)


def rollback(m: Migration) -> Receipt:
    """Restore at the source what is missing, from the run's export; take back from the sink what the run wrote."""
    return migrate_rollback.rollback(m)


def replay(m: Migration) -> Receipt:
    """Migrate the keys of the quarantine file once more; those that are refused again stay in it."""
    return migrate_replay.replay(m)
