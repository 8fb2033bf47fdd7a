"""What `init` found, and what to type next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from rich.table import Table
from rich.text import Text

from opsctl.model.units import show_size
from opsctl.render.screen import Screen


class Service(Protocol):
    """One service of the draft, as the job gives it."""

    @property
    def name(self) -> str: ...
    @property
    def phase(self) -> int | None: ...
    @property
    def memory(self) -> int | None: ...
    @property
    def memory_from(self) -> str: ...
    @property
    def running(self) -> bool: ...


class Draft(Protocol):
    """What was found, as the job gives it."""

    @property
    def project(self) -> str: ...
    @property
    def compose_files(self) -> Sequence[str]: ...
    @property
    def services(self) -> Sequence[Service]: ...
    @property
    def outside(self) -> Sequence[str]: ...
    @property
    def total(self) -> int: ...
    @property
    def available(self) -> int: ...


def print_found(found: Draft, *, path: str, text: str, written: bool, hint: Sequence[str], then: Sequence[str]) -> None:
    """The file on stdout where it was not written; what was found and what comes next on stderr."""
    if not written:
        sys.stdout.write(text)
        sys.stdout.flush()
    console = Screen(stderr=True)
    console.say(Text.assemble(("project  ", "dim"), found.project))
    console.say(Text.assemble(("compose  ", "dim"), ", ".join(found.compose_files)))
    memory = f"{show_size(found.total)}, {show_size(found.available)} of it available"
    console.say(Text.assemble(("memory   ", "dim"), memory))
    if written:
        console.print(_table(found.services))
    for line in hint if written else ():
        console.say(Text(line, "yellow"))
    if found.outside:
        console.say(Text(f"Not of this project, and never touched: {', '.join(found.outside)}", "dim"))
    console.say(Text.assemble(("✓ ", "green"), f"wrote {path}") if written else Text("nothing was written", "dim"))
    for number, command in enumerate(then):
        console.whole(Text.assemble(("  next " if number == 0 else "       ", "dim"), (command, "bold")))


def _table(services: Sequence[Service]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("phase", justify="right")
    table.add_column("service", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    table.add_column("why", style="dim", overflow="fold")
    for each in services:
        memory = show_size(each.memory) if each.memory else "unknown"
        table.add_row(str(each.phase) if each.phase else "none", each.name, memory, each.memory_from)
    return table
