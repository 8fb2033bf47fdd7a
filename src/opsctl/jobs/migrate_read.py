"""The first thread of a migration: scans, leaves out what is verified and the same still, and makes batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from opsctl.jobs.migrate_batch import Batch, today
from opsctl.jobs.migrate_flow import Channel, Flight
from opsctl.jobs.migrate_pace import Pace
from opsctl.jobs.migrate_tally import Tally
from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, Interrupted
from opsctl.model.migrate import Entry, Record, Source, State
from opsctl.spine.ledger import Ledger

BATCH_BYTES = 8 * 1024 * 1024  # a batch is cut there, so that large values do not fill the memory


@dataclass
class Reader:
    """Reads to the end of the source, to its limit, or until somebody asks for the end (and then ends quietly)."""

    source: Source
    records: Iterator[Sequence[Record]]
    ledger: Ledger
    flight: Flight
    pace: Pace
    tally: Tally
    out: Channel[Batch]
    cancel: Cancel
    most: int | None
    pending: list[Record] = field(default_factory=list)
    known: dict[bytes, Entry] = field(default_factory=dict)
    later: dict[bytes, Record] = field(default_factory=dict)  # came again while under way
    size: int = 0
    taken: int = 0
    whole: bool = False  # everything was seen

    def run(self) -> None:
        """Until there is nothing more. Raises what the source and the ledger raise."""
        try:
            self._read()
        except (Interrupted, DeadlineExceeded):
            if not self.cancel.done:
                raise
        finally:
            self.out.done()

    def _read(self) -> None:
        self.pace.ready(self.cancel)
        for records in self.records:
            self.tally.add(scanned=len(records))
            self._sort(records)
            if len(self.later) >= self.pace.batch:
                self._again()
            if self._enough():
                break
            self.pace.spent(len(records), self.cancel)
            self.pace.ready(self.cancel)
            self.cancel.check()
        self._flush()
        self._again()
        self._flush()
        self.whole = not self._enough()

    def _sort(self, records: Sequence[Record]) -> None:
        """Verified and the same: left out. Under way: later. The rest is taken."""
        newest = {record.key: record for record in records}
        flying = self.flight.split(newest) | (self.later.keys() & newest.keys())
        unchanged = len(records) - len(newest) + len(self.later.keys() & flying)  # given once more, told once
        if flying:
            self.later |= {key: newest.pop(key) for key in flying}
        rows = self.ledger.entries(list(newest))
        work = []
        for key, record in newest.items():
            row = rows.get(key)
            if row is not None and row.state is State.VERIFIED and row.source_digest == record.digest:
                unchanged += 1
                continue
            work.append(record)
        self.tally.add(unchanged=unchanged)
        self._take(work, rows)

    def _take(self, work: list[Record], rows: Mapping[bytes, Entry]) -> None:
        if self.most is not None:
            work = work[: self.most - self.taken]
        self.taken += len(work)
        self.flight.enter([record.key for record in work])
        enough = self.pace.batch
        size = self.size + sum([record.size for record in work])
        if not rows and len(self.pending) + len(work) <= enough and size < BATCH_BYTES:
            self.pending += work  # all of it at once, as nearly always
            self.size = size
            if len(self.pending) >= enough:
                self._flush()
            return
        for record in work:
            self.pending.append(record)
            self.size += record.size
            if record.key in rows:
                self.known[record.key] = rows[record.key]
            if len(self.pending) >= enough or self.size >= BATCH_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self.pending:
            batch = Batch(self.pending, self.known, today(), self.size)
            self.pending, self.known, self.size = [], {}, 0
            self.flight.load(batch.size, self.cancel)
            self.out.put(batch, self.cancel)

    def _again(self) -> None:
        """What came a second time, once the first is settled: most of it is verified by then."""
        if not self.later:
            return
        self._flush()
        later, self.later = self.later, {}
        self.flight.until_free(later, self.cancel)
        self._sort(list(later.values()))

    def _enough(self) -> bool:
        return self.most is not None and self.taken >= self.most
