"""Points as they are carried from one Qdrant to another: unchanged, perhaps into a collection of another name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Item, Limits, Record, Rejected
from opsctl.model.qdrant_point import split_key

# Half a page: each request has its price, and so has each change of threads. In return fewer wait between two stages,
# for a point's text is several times what its vectors take.
SUITING = Limits(batch=500, queue=2)


class PointsAsTheyAre:
    """A point goes where it was, or where `renamed` sends its collection. Needs no more than one thread."""

    workers = 1

    def __init__(self, renamed: Callable[[Cancel], Mapping[str, str]] = lambda _: {}) -> None:
        self._names = renamed
        self._renamed: Mapping[str, str] = {}

    def describe(self) -> Mapping[str, Any]:
        """The collections that are called otherwise there."""
        return {"renamed": dict(self._renamed)} if self._renamed else {}

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        """One item a record; its body is the JSON that the server gets."""
        self._renamed = self._names(cancel)
        return [self._item(each, _body(each)) for each in records]

    def outline(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item]:
        """As `apply`, without the bodies."""
        self._renamed = self._names(cancel)
        return [self._item(each, b"") for each in records]

    def close(self) -> None:
        """Nothing to free."""

    def _item(self, record: Record, body: bytes) -> Item:
        collection, point = split_key(record.key)
        return Item(record.key, point, body, record.digest, len(body), self._renamed.get(collection, collection))


def _body(record: Record) -> bytes:
    """The point as JSON: as its server wrote it where the source kept that."""
    text: bytes | None = record.value.get("text")
    if text is not None:
        return text
    sent = {key: record.value.get(key) or {} for key in ("payload", "vector")}
    return to_json({"id": record.value["id"], **sent})
