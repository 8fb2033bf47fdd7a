"""Why something died, as people read it and paste it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby

from rich.console import Console
from rich.text import Text

from opsctl.model.why import Why

_NARROW = 30  # columns; below that a wrapped line is worse than a long one


def print_why(name: str, found: Why, *, redact: Callable[[str], str]) -> None:
    """Write the answer to stdout: plain sentences, then what they rest on, then what to type."""
    console = Console(highlight=False, soft_wrap=True)
    style = "bold green" if found.verdict == "ok" else "bold red"
    width = screen_width(console)
    for number, line in enumerate(found.answer):
        shown = wrapped(redact(line), width, len(name) + 2, 2)
        console.print(Text.assemble((f"{name}: ", style if number == 0 else "dim"), shown))
    console.print()
    for source, text in _evidence(found):
        head = f"  {source:<22} "
        console.print(Text.assemble((head, "dim"), wrapped(redact(text), width, len(head), len(head))))
    for note in found.notes:
        console.print(Text(f"  {wrapped(redact(note), width, 2, 2)}", style="dim"))
    for number, line in enumerate(found.next):
        console.print(Text.assemble(("\nnext  " if number == 0 else "      ", "dim"), redact(line)))


def screen_width(console: Console) -> int:
    """Columns where lines are read on a screen; 0 where they are piped, and stay as they are."""
    return console.width if console.is_terminal or os.environ.get("COLUMNS") else 0


def wrapped(text: str, width: int, used: int, hang: int) -> str:
    """The text in lines of that width: the first begins after `used` columns, the others at `hang`."""
    if width - hang < _NARROW:
        return text
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=" " * used,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)[used:] if lines else text


def hanging(text: str, column: int) -> str:
    """The text in lines of this screen, all of them beginning at a column; piped, as it is."""
    return wrapped(text, screen_width(Console()), column, column)


def _evidence(found: Why) -> Iterator[tuple[str, str]]:
    """Each source is named once, before its first line."""
    for source, group in groupby(found.evidence, key=lambda each: each.source):
        for number, each in enumerate(group):
            yield source if number == 0 else "", each.text
