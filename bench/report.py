"""What is shown and what is kept: a table a section, and one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from series import Section, Series, Target


def figure(value: float, unit: str) -> str:
    """Seconds with milliseconds, or megabytes (10^6)."""
    return f"{value:.3f} s" if unit == "s" else f"{value / 1e6:.1f} MB"


def verdict(section: Section, target: Target) -> str:
    """A target in words, with what was reached."""
    reached, best = section.figure(target), section.best(target)
    if reached is None or best is None:
        return f"{target.words}: did not run"
    shown, of_best = ((f"{each:.2f} ×" if target.to else figure(each, section.unit)) for each in (reached, best))
    return f"{target.words}: {shown} (best runs {of_best}), {'met' if target.met(reached) else 'NOT met'}"


def show(section: Section, console: Console) -> None:
    """One table, its targets and notes below."""
    table = Table(title=section.title, title_justify="left")
    for heading in ("contestant", "n", "median", "min", "max"):
        table.add_column(heading, justify="left" if heading == "contestant" else "right")
    for each in sorted(section.series.values(), key=lambda one: one.median):
        low, high = min(each.values), max(each.values)
        shown = [figure(value, section.unit) for value in (each.median, low, high)]
        table.add_row(each.name, str(len(each.values)), *shown)
    console.print(table)
    for name, reason in section.failed.items():
        console.print(f"  {name} did not run: {reason}", style="bold red", markup=False, highlight=False)
    for target in section.targets:
        line = verdict(section, target)
        style = "green" if line.endswith(" met") and "NOT" not in line else "bold red"
        console.print(f"  {line}", style=style, highlight=False)
    for note in section.notes:
        console.print(f"  {note}", style="dim", highlight=False)
    console.print()


def as_data(section: Section) -> dict[str, Any]:
    """A section as it is kept."""
    return {
        "name": section.name,
        "title": section.title,
        "unit": section.unit,
        "contestants": {name: _kept(each) for name, each in section.series.items()},
        "targets": [_judged(section, target) for target in section.targets],
        "notes": list(section.notes),
        "did_not_run": dict(section.failed),
        "load": [round(value, 2) for value in section.load],
    }


def _kept(series: Series) -> dict[str, Any]:
    values = [round(value, 4) for value in series.values]
    return {"n": len(values), "median": round(series.median, 4), "min": min(values), "max": max(values), "all": values}


def _judged(section: Section, target: Target) -> dict[str, Any]:
    reached, best, rounds = section.figure(target), section.best(target), section.ratios(target)
    return {
        "target": target.words,
        "of": target.of,
        "to": target.to or None,
        "limit": target.limit,
        "reached": None if reached is None else round(reached, 4),
        "of_best": None if best is None else round(best, 4),
        "by_round": [round(each, 4) for each in rounds],
        "met": None if reached is None else target.met(reached),
    }


def keep(
    path: Path, started: str, facts: Mapping[str, Any], sections: Sequence[Section], failed: Mapping[str, str]
) -> None:
    """Write the JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": "opsctl.bench/1",
        "started": started,
        **facts,
        "sections": [as_data(each) for each in sections],
        "did_not_run": dict(failed),
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
