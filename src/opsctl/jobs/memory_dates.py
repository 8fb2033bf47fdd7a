"""When a memory item happened: the ways in which programs write a moment, read into UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_FIRST, _LAST = 946_684_800, 4_102_444_800  # 2000 and 2100: a number outside them is no moment
_SCALES = (1, 1_000, 1_000_000, 1_000_000_000)  # seconds, milliseconds, microseconds, nanoseconds
_DAY = re.compile(r"(19|20)\d{6}")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def moment(value: object) -> datetime:
    """A moment in UTC, to the microsecond.

    Takes ISO 8601 (a time without a zone is UTC), RFC 2822, a day, and numbers of seconds, milli-, micro- or
    nanoseconds since 1970. Raises ValueError whose text says what was read.
    """
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value} is no date")
    if isinstance(value, int | float):
        return _epoch(value, str(value))
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} is no date")
    text = value.strip()
    if text[4:5] == "-" or _DAY.fullmatch(text):
        return _iso(text)
    if _NUMBER.fullmatch(text):
        return _epoch(float(text) if "." in text else int(text), text)
    return _iso(text)


def _epoch(number: float, shown: str) -> datetime:
    for scale in _SCALES:
        if _FIRST * scale <= number < _LAST * scale:
            if isinstance(number, int):  # exact, where a float would be a few microseconds off
                whole, rest = divmod(number, scale)
                return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest * 1_000_000 // scale)
            return datetime.fromtimestamp(number / scale, UTC)
    raise ValueError(f"{shown[:40]} is no time between 2000 and 2100, in whatever unit")


def _iso(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError):
            raise ValueError(f"{text[:40]!r} is no date") from None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text[:40]!r} is beyond the calendar") from None
