"""Stamps of kernels and engines as people read them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from opsctl.model.units import show_duration

_DAY = 86400


def seconds_of(stamp: str) -> float | None:
    """Seconds since the epoch of an ISO stamp (nanoseconds are cut); None for none."""
    if not stamp:
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp))
    except ValueError:
        return None
    if found.year <= 1:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def utc(seconds: float) -> str:
    """`2026-11-20T18:52:33Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def clock(stamp: str) -> str:
    """`18:52:33 UTC`."""
    seconds = seconds_of(stamp)
    return stamp if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S} UTC"


def ago(stamp: str, now: float) -> str:
    """` (4 min 02 s ago)`, with the date where it is another day; "" where nothing is known."""
    seconds = seconds_of(stamp)
    if seconds is None:
        return ""
    day = f"on {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}, " if now - seconds > _DAY else ""
    return f" ({day}{show_duration(max(0.0, now - seconds))} ago)"
