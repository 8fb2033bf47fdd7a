"""Lines on a screen break between words; piped, each stays one line."""

from __future__ import annotations

import os
import re
import textwrap

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_NARROW = 30  # columns; below that a wrapped line is worse than a long one


class Screen(Console):
    """The console that all text is printed on."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False)

    def say(self, text: Text | str, *, hang: int | None = None) -> None:
        """Write a line; where it does not fit, what follows is indented, below the text beside its label."""
        for each in (Text(text) if isinstance(text, str) else text).split("\n", allow_blank=True):
            for part in self._parts(each, _hang(each) if hang is None else hang):
                self.print(part, soft_wrap=True)

    def whole(self, text: Text | str) -> None:
        """Write a line that is to be copied, or is quoted: it stays whole, as a shell needs it."""
        self.print(Text(text) if isinstance(text, str) else text, soft_wrap=True)

    def _parts(self, line: Text, hang: int) -> list[Text]:
        width = screen_width(self)
        if not width or line.cell_len <= width or width - hang < _NARROW:
            return [line]
        first, *more = line[hang:].divide(_breaks(line.plain[hang:], width - hang))
        for each in (first, *more):
            each.rstrip()
        return [line[:hang].append_text(first), *(Text(" " * hang).append_text(each) for each in more)]


def _breaks(text: str, width: int) -> list[int]:
    """Where the words begin that a new line begins with. A longer one, as a path, is left to the terminal."""
    found, begin = list[int](), 0
    for word in re.finditer(r"\S+", text):
        if cell_len(text[begin : word.end()]) > width and word.start() > begin:
            begin = word.start()
            found.append(begin)
    return found


def _hang(line: Text) -> int:
    """Where the text begins that a label stands before; of other lines, a bit further in than their beginning."""
    for span in line.spans:
        label = line.plain[span.start : span.end]
        if span.start == 0 and span.style == "dim" and label.endswith(" ") and span.end < len(line):
            return span.end
    return len(line.plain) - len(line.plain.lstrip()) + 2


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
