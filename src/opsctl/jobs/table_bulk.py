"""Values of one column by the thousand: those of the common shapes become cells in a few calls for all of them. Pure.

Each function gives what the one of its name in `table_types` gives for every single value, in COPY's text format; or
None where one of the values needs a closer look, which is then taken value by value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

Bulk = Callable[[Sequence[bytes]], Sequence[bytes] | None]

_BIGINT = re.compile(rb"(?:(?:-?[1-9]\d{0,17}|0)\n)*")
_NUMERIC = re.compile(rb"(?:(?:-?[1-9]\d{0,400}|0)(?:\.\d{1,400})?\n)*")
_UUID = re.compile(rb"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\n)*")
# Days that are in every year; a time of day with its seconds; a zone that is UTC.
_DAY = rb"(?:(?:0[13-9]|1[0-2])-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8])|(?:0[13578]|1[02])-31)"
_CLOCK = rb"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
_MOMENT = re.compile(rb"(?:(?!0000)\d{4}-" + _DAY + rb"[T ]" + _CLOCK + rb"(?:Z|\+00(?::00)?)\n)*")
_ZEROS = re.compile(rb"(\.\d*?[1-9])0+(?=[Z+])|\.0+(?=[Z+])")  # at the end of a fraction
_BOOLEANS = {b"true": b"t", b"false": b"f", b"1": b"t", b"0": b"f", b"t": b"t", b"f": b"f"}
_SPECIAL = re.compile(rb"[\\\t\r\b\f\v\0]")


def _joined(values: Sequence[bytes]) -> bytes | None:
    """A line each; None where one has a line's end in it."""
    joined = b"\n".join((*values, b""))
    return joined if joined.count(b"\n") == len(values) else None


def _unchanged(shape: re.Pattern[bytes]) -> Bulk:
    def bulk(values: Sequence[bytes]) -> Sequence[bytes] | None:
        joined = _joined(values)
        return values if joined is not None and shape.fullmatch(joined) else None

    return bulk


def boolean(values: Sequence[bytes]) -> Sequence[bytes] | None:
    """In lower case."""
    found = [_BOOLEANS.get(each, b"") for each in values]
    return found if all(found) else None


def timestamptz(values: Sequence[bytes]) -> Sequence[bytes] | None:
    """As ISO 8601 writes them in UTC."""
    joined = _joined(values)
    if joined is None or not _MOMENT.fullmatch(joined):
        return None
    if b"." in joined:
        joined = _ZEROS.sub(rb"\1", joined)
    written = joined.replace(b"T", b" ").replace(b"Z\n", b"+00\n").replace(b"+00:00\n", b"+00\n")
    return written.split(b"\n")[:-1]


def text(values: Sequence[bytes]) -> Sequence[bytes] | None:
    """UTF-8 with nothing to escape."""
    joined = _joined(values)
    if joined is None or _SPECIAL.search(joined):
        return None
    try:
        joined.decode()
    except UnicodeDecodeError:
        return None
    return values


BULK: Mapping[str, Bulk] = {
    "bigint": _unchanged(_BIGINT),
    "numeric": _unchanged(_NUMERIC),
    "uuid": _unchanged(_UUID),
    "boolean": boolean,
    "timestamptz": timestamptz,
    "text": text,
}
