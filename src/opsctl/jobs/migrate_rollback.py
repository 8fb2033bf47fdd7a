"""Takes a run back: the source gets what it misses from the run's export, then the sink gives up what the run wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager

from opsctl.jobs import migrate_receipt as receipts
from opsctl.jobs.migrate_lines import Exported, exported
from opsctl.jobs.migrate_read import BATCH_BYTES
from opsctl.jobs.migrate_recover import recover
from opsctl.jobs.migrate_tally import Tally
from opsctl.model.errors import UsageError
from opsctl.model.migrate import Entry, Receipt, Removal, State
from opsctl.model.migrate_run import Migration
from opsctl.spine import runfiles
from opsctl.spine.ledger import Ledger

_AT_THE_SINK = (State.VERIFIED, State.FINISHED)
_WORDS = {
    "restored": "put back at the source",
    "there": "at the source still, the same",
    "differs": "at the source in another state by now, and left alone",
    "expired": "expired since, and not put back; the target keeps them",
    "removed": "taken back from the target",
    "changed": "in the target in another state by now, and left alone",
    "gone": "no longer in the target",
}


def rollback(m: Migration) -> Receipt:
    """Restore, then take back; may be repeated. It needs the export, not the ledger.

    Raises UsageError (nothing was exported), Interrupted, LeaseHeld, UnreachableError.
    """
    check_export(m)
    with ExitStack() as stack:
        ledger = Ledger(m.ledger, m.run_id)
        stack.callback(ledger.close)
        recover(ledger, m.cipher)
        sides = receipts.later(m)
        count, batches = stack.enter_context(exported_batches(m))
        tally = Tally(m, count, ("scanned",))
        seen, left = Counter[str](), Counter[str]()
        for batch in batches:
            m.cancel.check()
            rows = ledger.entries([each.key for each in batch])
            seen.update(_take_back(m, ledger, batch, rows))
            left.update(written_by_others(m, batch, rows))
            tally.add(scanned=len(batch))
            tally.tick()
        return _over(m, sides, ledger, tally, seen, left)


def check_export(m: Migration) -> None:
    """Raises UsageError where there is nothing to go back from."""
    if not m.export.exists():
        raise UsageError(
            f"{m.run_id} has no export to go back from",
            why=f"there is no {m.export}: the run copied nothing, or the file was moved away",
            next=f"opsctl migrate receipt {m.run_id}",
            code="no-export",
        )


@contextmanager
def exported_batches(m: Migration) -> Iterator[tuple[int, Iterator[list[Exported]]]]:
    """How many records the export has, and each as it was exported last, in batches."""
    with closing(runfiles.Latest()) as latest:
        for begin, line in runfiles.read(m.export):
            latest.add([(exported(line, m.cipher).key, begin)])
            m.cancel.check()
        yield len(latest), _batches(m, latest.lines(m.export))


def written_by_others(m: Migration, batch: Sequence[Exported], rows: Mapping[bytes, Entry]) -> Iterator[str]:
    """Who wrote what this run only removed from the source: that stays in the sink until their own rollback."""
    for each in batch:
        row = rows.get(each.key)
        if each.item is None and row is not None and row.run != m.run_id and row.state in _AT_THE_SINK:
            yield row.run


def _batches(m: Migration, lines: Iterator[bytes]) -> Iterator[list[Exported]]:
    batch: list[Exported] = []
    heavy, size = 0, max(1, m.limits.batch)
    for line in lines:
        batch.append(exported(line, m.cipher))
        heavy += len(line)
        if len(batch) >= size or heavy >= BATCH_BYTES:
            yield batch
            batch, heavy = [], 0
    if batch:
        yield batch


def _take_back(m: Migration, ledger: Ledger, batch: Sequence[Exported], rows: Mapping[bytes, Entry]) -> Counter[str]:
    """The source first: only what is there again, or newer there, is taken from the sink."""
    seen: Counter[str] = Counter()
    outcomes = m.source.restore([each.dumped for each in batch], m.cancel)
    seen.update(outcomes)
    back = [each for each, how in zip(batch, outcomes, strict=True) if how != "expired"]
    seen.update(_from_sink(m, ledger, rows, back))
    # What an earlier run wrote stays in the sink, and this one had only removed it from the source.
    again = [rows[each.key] for each in back if each.item is None and each.key in rows]
    ledger.mark((row for row in again if row.state is State.FINISHED), State.VERIFIED)
    return seen


def _from_sink(m: Migration, ledger: Ledger, rows: Mapping[bytes, Entry], back: Sequence[Exported]) -> Iterator[str]:
    wrote = [(each.key, each.item) for each in back if each.item is not None]
    if not wrote:
        return
    m.sink.prepare(dict.fromkeys(item[1] for _key, item in wrote), m.cancel)
    removals = m.sink.remove([item for _key, item in wrote], m.cancel)
    gone = {key for (key, _item), how in zip(wrote, removals, strict=True) if how is Removal.REMOVED}
    ours = {key for key, _item in wrote if key in rows and rows[key].run == m.run_id}
    ledger.mark((rows[key] for key in gone | ours if key in rows), State.ROLLED_BACK)
    yield from (how.value for how in removals)


def _over(
    m: Migration, sides: receipts.Sides, ledger: Ledger, tally: Tally, seen: Counter[str], left: Counter[str]
) -> Receipt:
    ledger.sync()
    notes = tuple(f"{seen[word]:,} {text}" for word, text in _WORDS.items() if seen[word])
    notes += tuple(f"{count:,} at the target were written by run {run}, and stay there" for run, count in left.items())
    tally.add(removed=seen["removed"], changed=seen["differs"] + seen["changed"], vanished=seen["expired"])
    receipt = receipts.write(m, sides, "rolled-back", tally.counts(), receipts.checksums(ledger), notes, dict(left))
    tally.become("ended")
    tally.tick(last=True)
    return receipt
