"""Column types: which texts are of a type, and how PostgreSQL will write each of them back. Pure.

What goes in is in the server's own words already, so that a row read back is compared byte by byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from opsctl.jobs.memory_dates import moment

Canonical = Callable[[str], str]

_DIGITS = 1000  # of a number; beyond it is no number that anybody counts with
_BIGINT = re.compile(r"-?[1-9]\d{0,18}|0", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?", re.IGNORECASE | re.ASCII
)
_BEYOND = re.compile(r"\.\d{6}0*[1-9]")  # a fraction finer than a microsecond
_WORDS = {"true": "t", "false": "f"}
_MORE_WORDS = {**_WORDS, "t": "t", "f": "f", "yes": "t", "no": "f", "on": "t", "off": "f", "1": "t", "0": "f"}


def bigint(text: str) -> str:
    """A whole number of 64 bits, without a leading zero or plus. Raises ValueError."""
    if not _BIGINT.fullmatch(text) or (len(text) > 18 and not -(1 << 63) <= int(text) < 1 << 63):
        raise ValueError("no whole number of 64 bits")
    return text


def numeric(text: str) -> str:
    """A decimal number, an exponent written out; without a leading zero or plus. Raises ValueError."""
    if not _NUMBER.fullmatch(text) or len(text) > _DIGITS:
        raise ValueError("no decimal number")
    found = _plain(text) if "e" in text or "E" in text or text.startswith("-0") else text
    if text.startswith("-") and not found.startswith("-"):
        raise ValueError("a minus before zero, which would be lost")
    return found


def _plain(text: str) -> str:
    """As numeric is written: no exponent, no minus before zero."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("no decimal number") from None
    if abs(number.adjusted()) > _DIGITS or abs(int(number.as_tuple().exponent)) > _DIGITS:
        raise ValueError("a number with too many digits")
    return format(number if number else abs(number), "f")


def boolean(text: str) -> str:
    """True or false, by those words. Raises ValueError."""
    found = _WORDS.get(text.lower())
    if found is None:
        raise ValueError("neither true nor false")
    return found


def wide_boolean(text: str) -> str:
    """Also 1, 0, yes, no, on, off, t, f: where somebody says that it is a boolean. Raises ValueError."""
    found = _MORE_WORDS.get(text.strip().lower())
    if found is None:
        raise ValueError("neither true nor false")
    return found


def timestamptz(text: str) -> str:
    """A day with a time of day; UTC where it names no zone. Raises ValueError."""
    if not _MOMENT.fullmatch(text):
        raise ValueError("no date with a time")
    if _BEYOND.search(text):
        raise ValueError("finer than a microsecond")
    if " " in text[11:] or text[-1] in "cC":  # a zone as programs write it, and the library does not read it
        text = re.sub(r" ?utc$", "Z", text, flags=re.IGNORECASE).replace(" +", "+").replace(" -", "-")
    return _written(datetime.fromisoformat(text))


def wide_timestamptz(text: str) -> str:
    """Also a day alone, RFC 2822, numbers since 1970: where somebody says that it is a moment. Raises ValueError."""
    if _MOMENT.fullmatch(text):
        return timestamptz(text)
    if _BEYOND.search(text):
        raise ValueError("finer than a microsecond")
    return _written(moment(text))


def _written(when: datetime) -> str:
    if when.tzinfo is not None and when.tzinfo is not UTC:
        try:
            when = when.astimezone(UTC)
        except OverflowError:
            raise ValueError("beyond the calendar") from None
    text = when.isoformat(" ")
    text = text[:-6] if when.tzinfo is not None else text
    return (text.rstrip("0") if when.microsecond else text) + "+00"


def uuid_(text: str) -> str:
    """A UUID with its hyphens. Raises ValueError."""
    if not _UUID.fullmatch(text):
        raise ValueError("no UUID")
    return text.lower()


def jsonb(text: str) -> str:
    """A JSON object or list. Raises ValueError."""
    if text.lstrip()[:1] not in ("{", "["):
        raise ValueError("no JSON object or list")
    return any_json(text)


def any_json(text: str) -> str:
    """Any JSON, as jsonb writes it: keys by length, then by bytes, the last of two alike; numbers written out.

    Raises ValueError.
    """
    try:
        value = json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant, object_pairs_hook=dict
        )
        written = _jsonb(value)
        written.encode()
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("JSON with half of a surrogate pair") from None
    except json.JSONDecodeError:
        raise ValueError("no JSON") from None
    return written


class _Number(str):
    __slots__ = ()


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _jsonb(value: Any) -> str:
    if isinstance(value, _Number):
        return _plain(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        inside = sorted(value.items(), key=lambda pair: (len(raw := pair[0].encode()), raw))
        return "{" + ", ".join(f"{_quoted(k)}: {_jsonb(v)}" for k, v in inside) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_jsonb, value)) + "]"
    return {None: "null", True: "true", False: "false"}[value]


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("JSON with a NUL character")
    return json.dumps(text, ensure_ascii=False)


def text(text: str) -> str:
    """Any text without a NUL character. Raises ValueError."""
    if "\0" in text:
        raise ValueError("a text with a NUL character")
    return text


# In this order a column's type is looked for; the first that fits all its values is taken.
INFERRED: Mapping[str, Canonical] = {
    "boolean": boolean,
    "bigint": bigint,
    "numeric": numeric,
    "uuid": uuid_,
    "timestamptz": timestamptz,
    "jsonb": jsonb,
    "text": text,
}
# What a type takes once somebody has chosen it.
TAKEN: Mapping[str, Canonical] = {
    **INFERRED,
    "boolean": wide_boolean,
    "timestamptz": wide_timestamptz,
    "jsonb": any_json,
}
