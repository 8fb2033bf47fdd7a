"""Why something died, as people read it and paste it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from rich.text import Text

from opsctl.model.why import Why
from opsctl.render.screen import Screen


def print_why(name: str, found: Why, *, redact: Callable[[str], str]) -> None:
    """Write the answer to stdout: plain sentences, then what they rest on, then what to type."""
    console = Screen()
    style = "bold green" if found.verdict == "ok" else "bold red"
    for number, line in enumerate(found.answer):
        console.say(Text.assemble((f"{name}: ", style if number == 0 else "dim"), redact(line)), hang=2)
    console.print()
    for source, text in _evidence(found):
        console.say(Text.assemble((f"  {source:<22} ", "dim"), redact(text)))
    for note in found.notes:
        console.say(Text(f"  {redact(note)}", style="dim"), hang=2)
    for number, line in enumerate(found.next):
        console.whole(Text.assemble(("\nnext  " if number == 0 else "      ", "dim"), redact(line)))


def _evidence(found: Why) -> Iterator[tuple[str, str]]:
    """Each source is named once, before its first line."""
    for source, group in groupby(found.evidence, key=lambda each: each.source):
        for number, each in enumerate(group):
            yield source if number == 0 else "", each.text
