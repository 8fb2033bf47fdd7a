"""A validation as people read it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from opsctl.model.probing import Validation
from opsctl.render.screen import Screen


def print_validation(droplet: str, found: Validation, *, many: bool) -> None:
    """One line a probe, and how many passed."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in found.probes:
        mark = Text("✓", "green") if each.passed else Text("✗", "red")
        table.add_row(mark, Text(each.name, "bold"), each.kind, Text(each.said))
    console = Screen()
    if many:
        console.print(Text(droplet, "bold"))
    console.print(table)
    good = sum(each.passed for each in found.probes)
    console.print(f"\n{good} of {len(found.probes)} probes passed")
