"""Whether the sink still has what the ledger calls verified: a sink that was emptied or set back is noticed."""

from __future__ import annotations

from collections.abc import Sequence

from opsctl.model.migrate import Entry, Item, State
from opsctl.model.migrate_run import Migration
from opsctl.spine.ledger import Ledger

SAMPLE = 32


def as_items(rows: Sequence[Entry]) -> list[Item]:
    """Rows as items to read back: no body, the digest they must have."""
    return [Item(row.key, row.id, None, row.item_digest, 0, row.group) for row in rows]


def read_back(m: Migration, rows: Sequence[Entry]) -> Sequence[bytes | None]:
    """What the sink has for these rows now."""
    items = as_items(rows)
    m.sink.prepare(dict.fromkeys(item.group for item in items), m.cancel)
    return m.sink.read(items, m.cancel)


def distrust(m: Migration, ledger: Ledger) -> tuple[str, ...]:
    """Read a sample back; if one of it differs, read all back and take what differs for not verified. Notes."""
    sample = ledger.sample(SAMPLE)
    if not sample or not _differing(m, sample):
        return ()
    lost = 0
    for chunk in ledger.chunks(State.VERIFIED, size=max(1, m.limits.batch)):
        m.cancel.check()
        differing = _differing(m, chunk)
        ledger.mark(differing, State.SEEN)
        lost += len(differing)
    return (f"{lost:,} keys that were verified once are missing or other in the target by now: they are copied again",)


def _differing(m: Migration, rows: Sequence[Entry]) -> list[Entry]:
    return [row for row, found in zip(rows, read_back(m, rows), strict=True) if found != row.item_digest]
