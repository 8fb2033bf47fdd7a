"""What a vector store keeps of one thing: properties and named vectors; and when two of them are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any

from opsctl.model.migrate import digest

Value = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
# Made once: `json.dumps` makes one for every call, which is most of what a small object costs.
_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=list
).encode
_quoted: Callable[[Any], str] = encode_basestring
EXACT = 1 << 53  # whole numbers beyond it do not survive the wire, which carries them as float64


@dataclass(frozen=True, slots=True)
class VectorObject:
    """The body of an item for a vector store.

    Properties hold no None; a date is text as `utc_text` writes it. A vector is little-endian float32, as it is stored.
    """

    properties: Mapping[str, Value]
    vectors: Mapping[str, bytes] = field(default_factory=dict)

    def digest(self, vectors: Iterable[str]) -> bytes:
        """Equal for equal properties and equal vectors of these names, bit by bit; other vectors do not count."""
        parts = [canonical(self.properties)]
        for name in sorted(set(vectors)):
            if name in self.vectors:
                parts += [name.encode(), self.vectors[name]]
        return digest(*parts)

    @property
    def size(self) -> int:
        """About how many bytes it is on the wire."""
        texts = sum(len(key) + _size(value) for key, value in self.properties.items())
        return 64 + texts + sum(len(vector) for vector in self.vectors.values())


def canonical(properties: Mapping[str, Value]) -> bytes:
    """One text for equal properties, whatever their order. Raises ValueError for NaN and for half a surrogate pair."""
    try:
        # By hand where all are texts, as nearly always: an encoder takes five times as long for the same.
        pairs = [f"{_quoted(name)}:{_quoted(value)}" for name, value in sorted(properties.items())]
    except TypeError:
        return _canonical(properties).encode()
    return f"{{{','.join(pairs)}}}".encode()


def uuid_text(raw: bytes | bytearray) -> str:
    """Sixteen bytes as a UUID is written; `uuid.UUID` takes five times as long."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _size(value: Value) -> int:
    if isinstance(value, str):
        return len(value)
    return 8 * len(value) if isinstance(value, list | tuple) else 8


_FRACTION = re.compile(r"\.\d+")


def utc_text(moment: datetime) -> str:
    """RFC 3339 in UTC, a fraction only where there is one and without zeros at its end: as Go writes a time."""
    plain = (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).replace(tzinfo=None)
    text = plain.isoformat()
    return (text.rstrip("0") if plain.microsecond else text) + "Z"


def same_date(text: str) -> str:
    """A date as a server gives it back, written as `utc_text` does where it is not already."""
    if text.endswith("Z") and len(text) == 20:
        return text
    short = _FRACTION.sub(lambda found: found.group()[:7], text)  # nanoseconds are beyond datetime
    return utc_text(datetime.fromisoformat(short))
