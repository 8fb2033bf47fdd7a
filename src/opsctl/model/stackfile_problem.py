"""What is wrong in a stack file, collected and shown together as one error."""

from __future__ import annotations

import difflib
import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opsctl.model.errors import ConfigError

Path = tuple[str | int, ...]
"""The way to a value: ("services", "postgres", "then", 0, "sql")."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `line` counts from 1, 0 where there is none; `file` is a name to show."""

    file: str
    path: Path
    line: int
    what: str
    expected: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        at = f"{dotted(self.path)}: " if self.path else ""
        expected = f"; expected {self.expected}" if self.expected else ""
        return f"{where}{at}{self.what}{expected}{self.hint}"

    @property
    def hint(self) -> str:
        """The nearest valid word as a question, with a space before it; empty where there is none."""
        return f' (did you mean "{self.nearest}"?)' if self.nearest else ""


def dotted(path: Iterable[str | int]) -> str:
    """`services.postgres.then[0].sql`, as errors and `config show` write it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown_path(path: pathlib.Path) -> str:
    """A file as it is named in an error: relative to the current folder where it is in there."""
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def nearest(word: str, words: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The valid word most like `word`, or an empty string."""
    known = {known.lower(): known for known in words}
    meant = str(word).lower()
    found = difflib.get_close_matches(meant, known, n=1, cutoff=cutoff)
    if not found:  # difflib thinks little of swapped letters in short words: sodu, sudo
        found = [each for each in known if sorted(each) == sorted(meant)]
    return known[found[0]] if found else ""


def config_error(problems: Sequence[Problem]) -> ConfigError:
    """All problems of a file as one error; its path and line are the first one's file and line."""
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line))
    first = ordered[0]
    place = f"{first.file} line {first.line}" if first.line else first.file
    files = list(dict.fromkeys(problem.file for problem in ordered))
    if len(ordered) == 1:
        what = (f"{dotted(first.path)}: " if first.path else "") + first.what + first.hint
        why = (
            f"expected {first.expected}" if first.expected else "the file is checked whole before anything is connected"
        )
    else:
        what = f"{len(ordered)} problems in {' and '.join(files)}"
        why = "\n".join(f"{problem.file} {problem}" if len(files) > 1 else str(problem) for problem in ordered)
    return ConfigError(
        what, why=why, next=f"correct {place}, then: opsctl config show", path=first.file, line=first.line or None
    )
