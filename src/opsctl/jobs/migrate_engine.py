"""Copies and verifies: one thread reads, some transform, one writes down, some write and read back, one settles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from opsctl.jobs import migrate_receipt as receipts
from opsctl.jobs.migrate_batch import Batch
from opsctl.jobs.migrate_flow import Channel, Crew, Flight
from opsctl.jobs.migrate_pace import Pace
from opsctl.jobs.migrate_read import Reader
from opsctl.jobs.migrate_recover import Marks, recover
from opsctl.jobs.migrate_settle import Settling
from opsctl.jobs.migrate_stages import Transforming, Writing, WritingDown
from opsctl.jobs.migrate_tally import Tally
from opsctl.jobs.migrate_trust import distrust
from opsctl.model.cancel import Cancel
from opsctl.model.migrate import ChoosesIds, Counts, Receipt, Record
from opsctl.model.migrate_run import Migration
from opsctl.spine.ledger import Ledger
from opsctl.spine.runfiles import Lines

FLYING_BYTES = 64 * 1024 * 1024  # of records between reading and settling
Scan = Callable[[int, Cancel], Iterator[Sequence[Record]]]  # records of a batch, and what ends it
_DONE = ("unchanged", "verified", "quarantined", "vanished")


@dataclass(frozen=True)
class Opened:
    """What a run holds open."""

    ledger: Ledger
    export: Lines
    quarantine: Lines


def copy(m: Migration) -> Receipt:
    """Copy and verify everything that is new or changed.

    Raises Interrupted after draining, LeaseHeld (another run has the ledger), UnreachableError, DiskFull, OpsError.
    """
    with ExitStack() as stack:
        opened = open_run(m, stack)
        sides = receipts.look(m)
        tally = Tally(m, m.source.estimate(m.cancel).records, _DONE)
        notes = distrust(m, opened.ledger)
        return carry(m, sides, opened, tally, m.source.scan, notes)[0]


def open_run(m: Migration, stack: ExitStack) -> Opened:
    """The ledger first, so that two runs never share it. Raises LeaseHeld, DiskFull, OpsError."""
    m.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger = Ledger(m.ledger, m.run_id, m.export)
    stack.callback(ledger.close)
    export, quarantine = Lines(m.export, m.seal), Lines(m.quarantine)
    stack.callback(export.close)
    stack.callback(quarantine.close)
    recover(ledger, m.cipher)
    return Opened(ledger, export, quarantine)


def carry(
    m: Migration,
    sides: receipts.Sides,
    opened: Opened,
    tally: Tally,
    scan: Scan,
    notes: Sequence[str] = (),
) -> tuple[Receipt, bool]:
    """Carry over what the scan gives; the receipt, and whether all of it was seen."""
    crew = Crew(m.cancel)
    pace = Pace(m.limits, m.control, tally.become)
    reader = _assemble(m, crew, opened, tally, pace, scan(pace.batch, crew.reading))
    try:
        crew.run(lambda: _tick(crew, tally))
        opened.ledger.sync()
    except BaseException as error:
        raise _ended_by(m, sides, tally, error) from error
    cut = crew.cut and (not reader.whole or crew.work.done)
    return _over(m, sides, opened.ledger, tally, cut, notes), reader.whole


def _tick(crew: Crew, tally: Tally) -> None:
    if crew.cut:
        tally.become("draining")
    tally.tick()


def _assemble(
    m: Migration, crew: Crew, opened: Opened, tally: Tally, pace: Pace, records: Iterator[Sequence[Record]]
) -> Reader:
    """The threads, and the channels between them."""
    size, flight = m.limits.queue, Flight(FLYING_BYTES)
    workers, writers = max(1, m.transform.workers), max(1, m.limits.writers)
    read: Channel[Batch] = Channel(size, 1)
    transformed: Channel[Batch] = Channel(size, workers)
    written_down: Channel[Batch] = Channel(size, 1)
    written: Channel[Batch] = Channel(size, writers)
    ledger, work, marks, export = opened.ledger, crew.work, Marks(), opened.export
    reader = Reader(m.source, records, ledger, flight, pace, tally, read, crew.reading, m.limits.most)
    crew.add("read", reader.run)
    for number in range(workers):
        crew.add(f"transform-{number}", Transforming(m.transform, m.sink, read, transformed, work).run)
    crew.add("export", WritingDown(m.source, m.sink, export, marks, transformed, written_down, work).run)
    for number in range(writers):
        crew.add(f"write-{number}", Writing(m.sink, written_down, written, work).run)
    settling = Settling(ledger, opened.quarantine, lambda: export.size, marks, flight, tally, written, work)
    crew.add("settle", settling.run)
    return reader


def _ended_by(m: Migration, sides: receipts.Sides, tally: Tally, error: BaseException) -> BaseException:
    tally.become("ended")
    tally.tick(last=True)
    return receipts.failed(m, sides, tally.counts(), error)


def _said(counts: Counts, lost: int, *, cut: bool) -> list[str]:
    """What the figures alone do not tell."""
    said = []
    if lost:
        said.append(
            f"{lost:,} of the verified records share their id with a later one, which took their place: the target has "
            "the last of each, and `finish` deletes none of the others"
        )
    if not counts.scanned and not cut:
        said.append("the source has nothing of what was asked for")
    return said


def _over(
    m: Migration, sides: receipts.Sides, ledger: Ledger, tally: Tally, cut: bool, notes: Sequence[str]
) -> Receipt:
    """The receipt of a run that no error ended. Raises Interrupted where somebody asked for its end."""
    counts = tally.counts()
    lost = ledger.overwritten() if isinstance(m.transform, ChoosesIds) and m.transform.chooses_ids else 0
    outcome = "stopped" if cut else "partial" if counts.quarantined or lost else "complete"
    more = _said(counts, lost, cut=cut)
    receipt = receipts.write(m, sides, outcome, counts, receipts.checksums(ledger), (*notes, *more))
    tally.become("ended")
    tally.tick(last=True)
    if cut and m.cancel.cancelled:
        raise receipts.stopped(m, receipt)
    if cut:
        m.cancel.check("the migration")
    return receipt
