"""Sizes and durations as the stack file writes them and as people read them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kKmMgGtT]?(?:i?[bB])?)\s*$")
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str | int) -> int:
    """Bytes of `270MB`, `256MiB`, `2g`, `1048576`. A bare `k`/`m`/`g` is binary, as Docker reads it.

    Raises ValueError with what was expected.
    """
    if isinstance(text, int):
        return text
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; write it like 270MB, 256MiB or 2g")
    unit = match["unit"].lower()
    if len(unit) == 1 and unit != "b":
        unit += "i"
    return round(float(match["number"]) * _FACTORS[unit.removesuffix("b")])


def parse_duration(text: str | float) -> float:
    """Seconds of `30s`, `500ms`, `1m30s`, `2h`, or a bare number of seconds.

    Raises ValueError with what was expected.
    """
    if isinstance(text, int | float):
        return float(text)
    stripped = text.strip()
    parts = list(_DURATION.finditer(stripped))
    if not parts or "".join(part[0] for part in parts).replace(" ", "") != stripped.replace(" ", ""):
        raise ValueError(f"{text!r} is not a duration; write it like 30s, 500ms or 1m30s")
    return sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)


def show_size(size: int | None) -> str:
    """`270 MB` (decimal, as the stack file counts); `unknown` for None."""
    if size is None:
        return "unknown"
    if abs(size) >= 10**10:
        return f"{size / 10**9:.1f} GB"
    if abs(size) >= 10**7:
        return f"{size / 10**6:.0f} MB"
    if abs(size) >= 10**6:
        return f"{size / 10**6:.1f} MB"
    if abs(size) >= 10**3:
        return f"{size / 10**3:.0f} kB"
    return f"{size} B"


def show_duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
