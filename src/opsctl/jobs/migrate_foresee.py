"""What `finish` or `rollback` of a run would do: the same comparisons, counted, and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing

from opsctl.jobs import migrate_receipt as receipts
from opsctl.jobs.migrate_lines import Exported
from opsctl.jobs.migrate_rollback import check_export, exported_batches, written_by_others
from opsctl.jobs.migrate_trust import as_items
from opsctl.model.migrate import Entry, Item, State
from opsctl.model.migrate_run import Foreseen, Migration
from opsctl.spine.ledger import Peek


def finish(m: Migration) -> Foreseen:
    """Each verified record is read on both sides, as a finish does it. Raises UnreachableError, Interrupted."""
    receipts.look(m)
    found = Counter[str]()
    with closing(Peek(m.ledger)) as peek:
        for rows in _at_most(peek.chunks(State.VERIFIED, size=max(1, m.limits.batch)), m.limits.most):
            m.cancel.check()
            stored = m.sink.read(as_items(rows), m.cancel)
            now = m.source.fetch([row.key for row in rows], m.cancel)
            for row, there, record in zip(rows, stored, now, strict=True):
                if there != row.item_digest:
                    found["lost"] += 1
                elif record is None:
                    found["gone"] += 1
                else:
                    found["delete" if record.digest == row.source_digest else "changed"] += 1
    return Foreseen("finish", found.total(), _some(found))


def rollback(m: Migration) -> Foreseen:
    """The export is compared with both sides. Raises UsageError (no export), UnreachableError, Interrupted."""
    check_export(m)
    receipts.look(m)
    total = 0
    source, sink, left = Counter[str](), Counter[str](), Counter[str]()
    with closing(Peek(m.ledger)) as peek, exported_batches(m) as (_, batches):
        for batch in batches:
            m.cancel.check()
            keys = [each.key for each in batch]
            for each, record in zip(batch, m.source.fetch(keys, m.cancel), strict=True):
                source["restore" if record is None else "there" if record.digest == each.digest else "changed"] += 1
            sink.update(_at_sink(m, batch))
            left.update(written_by_others(m, batch, peek.entries(keys)))
            total += len(batch)
    return Foreseen("rollback", total, _some(source), _some(sink), dict(left))


def _at_most(chunks: Iterator[list[Entry]], most: int | None) -> Iterator[list[Entry]]:
    """A run that was begun with --limit finishes so many, too."""
    for rows in chunks:
        taken = rows if most is None else rows[:most]
        if taken:
            yield taken
        most = None if most is None else most - len(taken)
        if most == 0:
            return


def _at_sink(m: Migration, batch: Sequence[Exported]) -> Iterator[str]:
    wrote = [Item(each.key, each.item[0], None, each.item[2], 0, each.item[1]) for each in batch if each.item]
    for item, there in zip(wrote, m.sink.read(wrote, m.cancel) if wrote else (), strict=True):
        yield "gone" if there is None else "remove" if there == item.digest else "changed"


def _some(found: Counter[str]) -> dict[str, int]:
    return dict(sorted(found.items()))
