"""Migrates what is in quarantine once more: as it is at the source now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from opsctl.jobs import migrate_receipt as receipts
from opsctl.jobs.migrate_engine import Opened, carry
from opsctl.jobs.migrate_lines import quarantined_keys
from opsctl.jobs.migrate_recover import recover
from opsctl.jobs.migrate_tally import Tally
from opsctl.model.cancel import Cancel
from opsctl.model.errors import UsageError
from opsctl.model.migrate import Receipt, Record
from opsctl.model.migrate_run import Migration
from opsctl.spine import runfiles
from opsctl.spine.ledger import Ledger
from opsctl.spine.runfiles import Lines

_DONE = ("unchanged", "verified", "quarantined", "vanished")


def replay(m: Migration) -> Receipt:
    """Run the keys of the quarantine file again; the file keeps those that are refused again, once all were tried.

    Raises UsageError (nothing in quarantine), Interrupted, LeaseHeld, UnreachableError, DiskFull.
    """
    total = sum(len(keys) for keys in quarantined_keys(m.quarantine, 1000))
    if not total:
        raise UsageError(
            f"nothing of {m.run_id} is in quarantine",
            why=f"{m.quarantine} has no lines",
            next=f"opsctl migrate receipt {m.run_id}",
            code="nothing-to-replay",
        )
    fresh = m.quarantine.with_name("quarantine.replay.jsonl")
    with ExitStack() as stack:
        ledger = Ledger(m.ledger, m.run_id, m.export)
        stack.callback(ledger.close)
        fresh.unlink(missing_ok=True)
        export, quarantine = Lines(m.export, m.seal), Lines(fresh)
        stack.callback(export.close)
        stack.callback(quarantine.close)
        recover(ledger, m.cipher)
        tally = Tally(m, total, _DONE)
        opened = Opened(ledger, export, quarantine)

        def scan(batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
            return _records(m, tally, batch, cancel)

        receipt, whole = carry(m, receipts.look(m), opened, tally, scan)
        if whole:
            runfiles.promote(fresh, m.quarantine)
    return receipt


def _records(m: Migration, tally: Tally, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
    """The records of these keys as they are now; one that is gone needs no migration any more."""
    for keys in quarantined_keys(m.quarantine, batch):
        found = [record for record in m.source.fetch(keys, cancel) if record is not None]
        tally.add(scanned=len(keys) - len(found), vanished=len(keys) - len(found))
        yield found
