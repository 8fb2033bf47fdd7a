"""An examination as a person reads it: areas, one line a check, what mends what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from opsctl.model.examination import Check
from opsctl.render.screen import Screen

_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "bold red"), "unknown": ("?", "dim")}


def print_examination(droplet: str, checks: Sequence[Check]) -> None:
    """Write one droplet's checks, and how many of which kind there are."""
    console = Screen()
    console.print(Text(droplet, style="bold"))
    for area, group in groupby(checks, key=lambda check: check.area):
        console.print(Text(f"\n{area}", style="bold"))
        console.print(Padding(_table(list(group)), (0, 0, 0, 2)))
    console.print()
    console.say(_summary(checks))


def _table(checks: Sequence[Check]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=1)
    table.add_column(no_wrap=True, min_width=12)
    table.add_column(overflow="fold", ratio=1)
    for each in checks:
        sign, style = _SIGNS[each.verdict]
        detail = Text(each.detail, style="dim" if each.verdict == "unknown" else "")
        if each.mend:
            detail.append("\n→ ", "dim").append(each.mend, "bold" if each.verdict == "failed" else "cyan")
        table.add_row(Text(sign, style=style), Text(each.name), detail)
    return table


def _summary(checks: Sequence[Check]) -> Text:
    counts = Counter(str(each.verdict) for each in checks)
    parts = [
        f"{counts['ok']} ok",
        f"{counts['warning']} {'warning' if counts['warning'] == 1 else 'warnings'}" if counts["warning"] else "",
        f"{counts['failed']} failed" if counts["failed"] else "",
        f"{counts['unknown']} unknown" if counts["unknown"] else "",
    ]
    sign, style = _SIGNS["failed" if counts["failed"] else "warning" if counts["warning"] else "ok"]
    word = "not all is well here" if counts["failed"] else "opsctl can work here"
    return Text.assemble((f"{sign} ", style), f"{word}: ", ", ".join(filter(None, parts)))
