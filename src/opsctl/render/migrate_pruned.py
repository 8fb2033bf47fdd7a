"""What a prune of past runs removed, or would, as a person reads it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opsctl.model.migrate_pruned import Pruned
from opsctl.model.units import show_size


def print_pruned(done: Pruned) -> None:
    """Write what goes, what stays and why to stdout."""
    console = Console(highlight=False)
    word = "would go" if done.dry_run else "removed"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column()
    for name, style, rows in ((word, "yellow", done.removed), ("stays", "dim", done.kept)):
        for each in rows:
            what = " ".join(filter(None, (each.name, each.migration, each.state)))
            table.add_row(Text(name, style=style), what, show_size(each.bytes), Text(each.why, style="dim"))
    if done.removed or done.kept:
        console.print(table)
    runs = len(done.removed)
    if not runs:
        console.print(Text("nothing to remove", style="dim"))
        return
    verb = "would be freed" if done.dry_run else "freed"
    console.print(Text(f"{show_size(done.freed)} {verb}"), soft_wrap=True)
