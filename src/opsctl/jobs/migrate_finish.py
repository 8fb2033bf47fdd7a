"""Removes from the source what is proved in the sink: read back once more, exported, compared, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from opsctl.jobs import migrate_receipt as receipts
from opsctl.jobs.migrate_engine import Opened, open_run
from opsctl.jobs.migrate_flow import Channel, Crew
from opsctl.jobs.migrate_lines import export_lines, quarantine_line
from opsctl.jobs.migrate_pace import Pace
from opsctl.jobs.migrate_tally import Tally, utc
from opsctl.jobs.migrate_trust import as_items
from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Entry, Receipt, Record, Rejected, Removal, State
from opsctl.model.migrate_run import Migration

_LOST = "the target no longer has it as it was verified: it stays at the source, the next run copies it again"
_DONE = ("removed", "changed", "vanished", "quarantined")


def finish(m: Migration, *, copied: Receipt | None = None) -> Receipt:
    """Compare-and-delete of everything the ledger says is verified. `copied` is the copy just made, to be counted in.

    Raises Interrupted after draining, LeaseHeld, UnreachableError, DiskFull, OpsError.
    """
    with ExitStack() as stack:
        exported = m.export.exists() and m.export.stat().st_size > 0
        opened = open_run(m, stack)
        sides = receipts.later(m)
        total = opened.ledger.counts().get(State.VERIFIED, 0)
        work = _Finishing(m, opened, Tally(m, total, _DONE), Crew(m.cancel), exported)
        try:
            work.run()
            opened.ledger.put((), {}, settled=opened.export.size)
            opened.ledger.sync()
        except BaseException as error:
            raise receipts.failed(m, sides, work.tally.counts(), error) from error
        return _over(work, sides, copied)


def _over(work: _Finishing, sides: receipts.Sides, copied: Receipt | None) -> Receipt:
    m, counts = work.m, work.tally.counts()
    if copied is not None:
        counts = receipts.merged(copied.counts, counts)
        sides = replace(sides, started=copied.started, told=True)
    cut = work.crew.cut and (not work.whole or work.crew.work.done)
    outcome = "stopped" if cut else "partial" if counts.quarantined else "finished"
    sums = receipts.checksums(work.opened.ledger, work.lost)
    receipt = receipts.write(m, sides, outcome, counts, sums, work.notes())
    work.tally.become("ended")
    work.tally.tick(last=True)
    if cut and m.cancel.cancelled:
        raise receipts.stopped(m, receipt)
    if cut:
        m.cancel.check("removing what was verified")
    return receipt


@dataclass
class _Finishing:
    """A feeder goes through the ledger, workers check and remove."""

    m: Migration
    opened: Opened
    tally: Tally
    crew: Crew
    exported: bool  # the run's own export is there, with what it copied
    lost: list[tuple[Entry, bytes | None]] = field(default_factory=list)
    whole: bool = False

    def run(self) -> None:
        """To the end, or until somebody asks for it."""
        limits = self.m.limits
        self.opened.ledger.sync()
        work: Channel[list[Entry]] = Channel(limits.queue, 1)
        self.crew.add("feed", lambda: self._feed(work))
        for number in range(max(1, limits.writers)):
            self.crew.add(f"remove-{number}", lambda: self._work(work))
        self.crew.run(self._tick)

    def notes(self) -> tuple[str, ...]:
        """What should be known of a finish."""
        counts = self.tally.counts()
        found = [] if self.tally.total else ["nothing was left to delete"]
        if counts.changed:
            found.append(f"{counts.changed:,} keys changed at the source since they were read, and stay: run it again")
        if counts.vanished:
            found.append(f"{counts.vanished:,} keys were gone from the source already; the target keeps them")
        return tuple(found)

    def _tick(self) -> None:
        if self.crew.cut:
            self.tally.become("draining")
        self.tally.tick()

    def _feed(self, out: Channel[list[Entry]]) -> None:
        cancel = self.crew.reading
        pace = Pace(self.m.limits, self.m.control, self.tally.become)
        left = self.m.limits.most
        try:
            for chunk in self.opened.ledger.chunks(State.VERIFIED, size=pace.batch):
                pace.ready(cancel)
                taken = chunk if left is None else chunk[:left]
                out.put(taken, cancel)
                pace.spent(len(taken), cancel)
                left = None if left is None else left - len(taken)
                if left == 0:
                    break
            self.whole = True
        finally:
            out.done()

    def _work(self, work: Channel[list[Entry]]) -> None:
        for rows in work.each(self.crew.work):
            self._remove(self._restorable(self._proved(rows, self.crew.work)), self.crew.work)

    def _proved(self, rows: Sequence[Entry], cancel: Cancel) -> list[Entry]:
        """Those that the sink still has, bit by bit; the others are for the next run."""
        items = as_items(rows)
        self.m.sink.prepare(dict.fromkeys(item.group for item in items), cancel)
        found = self.m.sink.read(items, cancel)
        lost = [(row, now) for row, now in zip(rows, found, strict=True) if now != row.item_digest]
        if lost:
            self._lost(lost)
        return [row for row, now in zip(rows, found, strict=True) if now == row.item_digest]

    def _lost(self, lost: list[tuple[Entry, bytes | None]]) -> None:
        now = utc()
        self.opened.quarantine.append(quarantine_line(Rejected(row.key, _LOST, "mismatch"), now) for row, _ in lost)
        self.opened.ledger.mark((row for row, _ in lost), State.SEEN)
        self.lost += lost
        for _ in lost:
            self.tally.refused("mismatch")

    def _restorable(self, rows: Sequence[Entry]) -> list[Entry]:
        """What another run exported goes into this run's export, too: its rollback must not hang on another's files."""
        mine = [row for row in rows if self.exported and row.run == self.m.run_id]
        others = [row for row in rows if not (self.exported and row.run == self.m.run_id)]
        if not others:
            return mine
        good: list[tuple[Entry, Record]] = []
        for row, record in zip(others, self.m.source.fetch([row.key for row in others], self.crew.work), strict=True):
            if record is None:
                self._gone([row])
            elif record.digest != row.source_digest:
                self.tally.add(changed=1)
            else:
                good.append((row, record))
        self.opened.export.append(export_lines(self.m.source, ((record, None, "") for _row, record in good)))
        return mine + [row for row, _record in good]

    def _remove(self, rows: Sequence[Entry], cancel: Cancel) -> None:
        if not rows:
            return
        done = self.m.source.remove([(row.key, row.source_digest) for row in rows], cancel)
        removed = [row for row, how in zip(rows, done, strict=True) if how is Removal.REMOVED]
        self.opened.ledger.mark(removed, State.FINISHED)
        self.tally.add(removed=len(removed), changed=sum(how is Removal.CHANGED for how in done))
        self._gone([row for row, how in zip(rows, done, strict=True) if how is Removal.GONE])

    def _gone(self, rows: Sequence[Entry]) -> None:
        self.opened.ledger.mark(rows, State.FINISHED)
        self.tally.add(vanished=len(rows))
