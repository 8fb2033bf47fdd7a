"""Words and signs that every form of the memory report shares."""

from __future__ import annotations

from opsctl.model.memory import OomKill, Verdict
from opsctl.model.units import show_size

UNKNOWN = "unknown"

VERDICT_STYLES = {
    Verdict.HEALTHY: "green",
    Verdict.UNDER_USED: "blue",
    Verdict.AT_RISK: "bold red",
    Verdict.REDUNDANT: "magenta",
    Verdict.NO_LIMIT: "yellow",
    Verdict.STOPPED: "dim",
    Verdict.UNKNOWN: "yellow",
}

LEVEL_MARKS = {"problem": ("✗", "bold red"), "warning": ("!", "yellow"), "info": ("·", "dim")}


def megabytes(size: int | None) -> str:
    """A number for a column that says MB: `182`, `3.1`, `0`."""
    if size is None:
        return UNKNOWN
    value = size / 10**6
    return "0" if not size else f"{value:.0f}" if value >= 9.95 else f"{max(value, 0.1):.1f}"


def percent(share: float | None) -> str:
    """`38 %`; `unknown` for None."""
    return UNKNOWN if share is None else f"{share:.0%}".replace("%", " %")


def when(kill: OomKill) -> str:
    """`11-20 19:04:54`, and whether it was before the last boot."""
    stamp = kill.time[5:19].replace("T", " ") if kill.time else "time unknown"
    return f"{stamp} (before the last boot)" if kill.boot else stamp


def culprit(kill: OomKill) -> str:
    """Who is to blame: the container's own limit, or the largest process when the host ran out."""
    if kill.scope == "limit":
        return f"{kill.culprit}: its own limit" + (f" of {show_size(kill.limit)}" if kill.limit else "")
    if not kill.culprit:
        return "the host ran out"
    return f"the host ran out; {kill.culprit} held {show_size(kill.culprit_bytes)}"
