"""What travels through a migration: records, what is known of them, their items, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opsctl.model.migrate import Entry, Item, Record, Rejected


def today() -> str:
    """The day, UTC, yyyymmdd."""
    return f"{datetime.now(UTC):%Y%m%d}"


@dataclass(slots=True)
class Batch:
    """Records that go together. Each stage adds what it found out; nobody else has it meanwhile.

    `known` are the ledger's rows, `day` is the one of keys without a row, `size` in bytes, `part` is where in the
    export it was written down.
    """

    records: list[Record]
    known: Mapping[bytes, Entry]
    day: str
    size: int
    pairs: list[tuple[Record, Item]] = field(default_factory=list)  # what is to be written
    refused: list[tuple[Record, Rejected]] = field(default_factory=list)
    wrote: dict[bytes, Item] = field(default_factory=dict)  # of those refused, what was sent to the sink
    part: int = 0
    verified: list[tuple[Record, Item, bytes]] = field(default_factory=list)  # with the digest that was read back

    def days(self, records: Iterable[Record]) -> dict[bytes, str]:
        """The day of each one's first sight."""
        keys = [record.key for record in records]
        return {key: self.day_of(key) for key in keys} if self.known else dict.fromkeys(keys, self.day)

    def day_of(self, key: bytes) -> str:
        """The day of its first sight."""
        row = self.known.get(key)
        return row.day if row is not None and row.day else self.day
