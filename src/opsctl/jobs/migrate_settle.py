"""The last thread of a migration: what became of each record goes into the quarantine and the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsctl.jobs.migrate_batch import Batch
from opsctl.jobs.migrate_flow import Channel, Flight
from opsctl.jobs.migrate_lines import quarantine_line
from opsctl.jobs.migrate_tally import Tally, utc
from opsctl.model.cancel import Cancel
from opsctl.spine.ledger import Ledger
from opsctl.spine.runfiles import Lines

AT_ONCE = 8  # batches in one transaction


@dataclass
class Settling:
    """One transaction for all that waits; only then are the keys free for another round."""

    ledger: Ledger
    quarantine: Lines
    flight: Flight
    tally: Tally
    into: Channel[Batch]
    cancel: Cancel

    def run(self) -> None:
        """Until the channel ends."""
        while batches := self.into.take(AT_ONCE, self.cancel):
            self._settle(batches)
            for batch in batches:
                self._count(batch)

    def _settle(self, batches: Sequence[Batch]) -> None:
        refused = [(batch, *pair) for batch in batches for pair in batch.refused]
        if refused:
            now = utc()
            self.quarantine.append(quarantine_line(why, now, record) for _batch, record, why in refused)
            self.ledger.quarantine((each.key, each.digest, batch.day_of(each.key)) for batch, each, _why in refused)
        verified = [
            (stored, record.key, record.digest) for batch in batches for record, _item, stored in batch.verified
        ]
        if verified:
            self.ledger.verify(verified)

    def _count(self, batch: Batch) -> None:
        for _record, why in batch.refused:
            self.tally.refused(why.code)
        self.tally.add(verified=len(batch.verified), bytes=sum(item.size for _record, item, _stored in batch.verified))
        self.flight.leave([record.key for record in batch.records], batch.size)
