"""The configuration as a person reads it: one block a thing, what was left at its default dimmed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from rich.table import Table
from rich.text import Text

from opsctl.model.units import show_duration, show_size
from opsctl.render.screen import Screen

_SIZES = ("memory", "reserve")
_NOTHING = {
    "phase": "not started by phases",
    "memory": "unknown",
    "key": "your agent and SSH configuration",
    "known_hosts": "your own (~/.ssh/known_hosts)",
}


class Value(Protocol):
    """One value, as the job gives it."""

    @property
    def path(self) -> str: ...
    @property
    def value(self) -> object: ...
    @property
    def source(self) -> str: ...
    @property
    def line(self) -> int: ...


class Report(Protocol):
    """What is in force on one droplet, as the job gives it."""

    @property
    def stack_file(self) -> str | None: ...
    @property
    def compose_files(self) -> Sequence[str]: ...
    @property
    def project(self) -> str: ...
    @property
    def complete(self) -> bool: ...
    @property
    def values(self) -> Sequence[Value]: ...


def print_config(report: Report, *, droplet: str, several: bool) -> None:
    """Write the values to stdout, with the source of each."""
    console = Screen()
    if several:
        console.say(Text(f"── {droplet} ──", "bold"))
    console.say(Text.assemble(("stack file  ", "dim"), report.stack_file or "none"))
    console.say(Text.assemble(("compose     ", "dim"), ", ".join(report.compose_files) or "not known"))
    if not report.complete:
        console.say(
            Text("            the compose file was not read: x-opsctl and depends_on are missing here", "yellow")
        )
    for thing, values in groupby(report.values, key=_thing):
        console.print()
        console.say(Text(thing, "bold"))
        console.print(_table(thing, list(values)))


def _thing(value: Value) -> str:
    first, _, rest = value.path.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first in ("droplets", "services") else first


def _table(thing: str, values: Sequence[Value]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(min_width=14, no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    table.add_column(overflow="fold", style="dim")
    for value in values:
        key = value.path.removeprefix(f"{thing}.")
        style = "dim" if value.source == "default" else ""
        source = f"{value.source}:{value.line}" if value.line else value.source
        table.add_row(Text(f"  {key}", style), Text(shown(key, value.value), style), Text(source))
    return table


def shown(key: str, value: object) -> str:
    """A value in a person's units."""
    last = key.rpartition(".")[2]
    if value is None or value == []:
        return _NOTHING.get(last, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " · ".join(str(item) for item in value)
    if last in _SIZES and isinstance(value, int):
        return show_size(value)
    return show_duration(value) if last == "within" and isinstance(value, float) else str(value)
