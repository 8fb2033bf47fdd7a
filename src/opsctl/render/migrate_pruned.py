"""What a prune of past runs removed, or would, as a person reads it."""

from __future__ import annotations

from rich.text import Text

from opsctl.model.migrate_pruned import Prunable, Pruned
from opsctl.model.units import show_size
from opsctl.render.screen import Screen


def print_pruned(done: Pruned) -> None:
    """Write what goes, what stays and why to stdout."""
    console = Screen()
    for each in done.removed:
        _print(console, "would go" if done.dry_run else "removed", "yellow", each)
    for each in done.kept:
        _print(console, "stays", "dim", each)
    if not done.removed:
        console.print(Text("nothing to remove", style="dim"))
        return
    verb = "would be freed" if done.dry_run else "freed"
    console.say(Text(f"{show_size(done.freed)} {verb}"))


def _print(console: Screen, word: str, style: str, each: Prunable) -> None:
    """Two lines: the second may hold a command, which no column should cut."""
    what = "  ".join(filter(None, (each.name, each.migration, each.state, show_size(each.bytes))))
    console.say(Text.assemble((f"{word:<10}", style), what))
    console.say(Text(f"{'':<10}{each.why}", style="dim"))
