"""The last thread of a migration: what became of each record goes into the quarantine and the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opsctl.jobs.migrate_batch import Batch
from opsctl.jobs.migrate_flow import SLICE, Channel, Flight
from opsctl.jobs.migrate_lines import quarantine_line
from opsctl.jobs.migrate_recover import Marks
from opsctl.jobs.migrate_tally import Tally, utc
from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, Interrupted
from opsctl.model.migrate import Entry, Record, State
from opsctl.spine.ledger import Ledger, Row
from opsctl.spine.runfiles import Lines

AT_ONCE = 8  # batches taken at once
ROWS = 4_096  # in one transaction; the ledger says why
SECONDS = 1.0  # or what came in so long
_VERIFIED = int(State.VERIFIED)  # SQLite's adapter asks around for everything that is no plain number


@dataclass
class _Waiting:
    """What the next transaction will hold; the records' values are let go before."""

    rows: list[Row] = field(default_factory=list)
    known: dict[bytes, Entry] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    verified: int = 0
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)


@dataclass
class Settling:
    """Few large transactions; only then are the keys free for another round."""

    ledger: Ledger
    quarantine: Lines
    exported: Callable[[], int]  # size of the export
    marks: Marks
    flight: Flight
    tally: Tally
    into: Channel[Batch]
    cancel: Cancel
    waiting: _Waiting = field(default_factory=_Waiting)

    def run(self) -> None:
        """Until the channel ends; when others failed, what is proved by then is still kept."""
        try:
            while (batches := self.into.take(AT_ONCE, self.cancel, patience=SLICE)) != []:
                for batch in batches or ():
                    self._gather(batch)
                if self._due():
                    self._commit()
        except (Interrupted, DeadlineExceeded):
            self._commit()
            raise
        self._commit()

    def _due(self) -> bool:
        waiting = self.waiting
        return len(waiting.rows) >= ROWS or self.flight.awaited or time.monotonic() - waiting.since >= SECONDS

    def _gather(self, batch: Batch) -> None:
        waiting, now = self.waiting, utc()
        for record, why in batch.refused:
            waiting.lines.append(quarantine_line(why, now, record))
            waiting.codes.append(why.code)
            waiting.rows.append(_refused(batch, record))
        days = batch.days(record for record, _item, _stored in batch.verified)
        waiting.rows += [
            (record.key, _VERIFIED, record.digest, item.digest, stored, item.id, item.group, days[record.key])
            for record, item, stored in batch.verified
        ]
        waiting.bytes += sum([item.size for _record, item, _stored in batch.verified])
        waiting.verified += len(batch.verified)
        waiting.known |= batch.known
        waiting.keys += [record.key for record in batch.records]
        waiting.parts.append(batch.part)
        self.flight.unload(batch.size)

    def _commit(self) -> None:
        waiting, self.waiting = self.waiting, _Waiting()
        if not waiting.keys:
            return
        self.quarantine.append(waiting.lines)
        size = self.exported()
        for part in waiting.parts:
            self.marks.end(part)
        self.ledger.put(waiting.rows, waiting.known, settled=self.marks.settled(size))
        for code in waiting.codes:
            self.tally.refused(code)
        self.tally.add(verified=waiting.verified, bytes=waiting.bytes)
        self.flight.leave(waiting.keys)


def _refused(batch: Batch, record: Record) -> Row:
    """Where an item of it is, or may be, stays known."""
    row, day = batch.known.get(record.key), batch.day_of(record.key)
    item = batch.wrote.get(record.key)
    if item is not None:
        return record.key, State.QUARANTINED, record.digest, item.digest, b"", item.id, item.group, day
    if row is not None:
        return record.key, State.QUARANTINED, record.digest, row.item_digest, b"", row.id, row.group, day
    return record.key, State.QUARANTINED, record.digest, b"", b"", "", "", day
