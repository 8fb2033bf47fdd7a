"""What a prune of past runs removed, or would, as a person reads it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from opsctl.model.migrate_pruned import Prunable, Pruned
from opsctl.model.units import show_size


def print_pruned(done: Pruned) -> None:
    """Write what goes, what stays and why to stdout."""
    console = Console(highlight=False)
    for each in done.removed:
        _print(console, "would go" if done.dry_run else "removed", "yellow", each)
    for each in done.kept:
        _print(console, "stays", "dim", each)
    if not done.removed:
        console.print(Text("nothing to remove", style="dim"))
        return
    verb = "would be freed" if done.dry_run else "freed"
    console.print(Text(f"{show_size(done.freed)} {verb}"), soft_wrap=True)


def _print(console: Console, word: str, style: str, each: Prunable) -> None:
    """Two lines: the second may hold a command, which no column should cut."""
    what = "  ".join(filter(None, (each.name, each.migration, each.state, show_size(each.bytes))))
    console.print(Text.assemble((f"{word:<10}", style), what), soft_wrap=True)
    console.print(Text(f"{'':<10}{each.why}", style="dim"), soft_wrap=True)
