"""Log lines as a person reads them, and as NDJSON."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime, timedelta
from typing import Protocol, TextIO

# Everything a terminal acts on: only colours may pass, so that a log line can't move the cursor or set the title.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SEQUENCE = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -~]?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_STAMP = re.compile(
    r"(?P<open>\[)?(?P<day>\d{4}[-/]\d\d[-/]\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)(?:[.,]\d+)?"
    r"(?: ?(?:Z|UTC|\+00:?00))?(?(open)\])[ \t]+(?:- )?"
)
_SAME = timedelta(seconds=2)  # from writing a line to Docker's stamp on it
_PALETTE = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class Line(Protocol):
    """A log line, as the job gives it."""

    @property
    def droplet(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def container(self) -> str: ...
    @property
    def time(self) -> str: ...
    @property
    def stream(self) -> str: ...
    @property
    def text(self) -> str: ...


class LogPrinter:
    """Writes lines as they come: time (UTC), service, text; the date once, and again when it changes."""

    def __init__(self, *, as_json: bool, with_droplet: bool, out: TextIO | None = None) -> None:
        self._json, self._with_droplet = as_json, with_droplet
        self._out = out or sys.stdout
        self._colours = self._out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._known: dict[str, int] = {}
        self._width, self._day = 0, ""

    def names(self, names: list[str]) -> None:
        """Say beforehand which names will come, so that the text begins in one column."""
        self._width = max([self._width, *map(len, names)])

    def line(self, line: Line) -> None:
        """Write one line."""
        if self._json:
            fields = ("droplet", "service", "container", "time", "stream", "text")
            self._out.write(json.dumps({each: getattr(line, each) for each in fields}, ensure_ascii=False) + "\n")
            return
        day, _, clock = line.time.partition("T")
        if day and day != self._day:
            self._day = day
            self._out.write(self._paint(f"── {day} UTC ──", 2) + "\n")
        name = self.label(line.droplet, line.service)
        self.names([name])
        colour = self._known.setdefault(name, _PALETTE[len(self._known) % len(_PALETTE)])
        head = f"{self._paint(clock[:12].removesuffix('Z'), 2)} {self._paint(name.ljust(self._width), colour)}"
        self._out.write(f"{head}  {clean(unstamped(line.text, line.time), colours=self._colours)}\n")

    def notice(self, droplet: str, service: str, text: str) -> None:
        """Say on stderr what happened to a container that is followed, or to a droplet's all."""
        from opsctl.render.screen import Screen

        Screen(stderr=True).say(f"── {self.label(droplet, service) if service else droplet}: {text} ──")

    def label(self, droplet: str, service: str) -> str:
        """The name in front of a line."""
        return f"{droplet}/{service}" if self._with_droplet else service

    def flush(self) -> None:
        """Hand on what was written."""
        self._out.flush()

    def _paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


def unstamped(text: str, time: str) -> str:
    """A line without the time it begins with, where that is `time` once more; another one (a local time) stays."""
    match = _STAMP.match(text)
    if match is None or not time or match.end() == len(text):
        return text
    try:
        own = datetime.fromisoformat(f"{match['day'].replace('/', '-')}T{match['clock']}")
        return text[match.end() :] if abs(datetime.fromisoformat(time[:19]) - own) <= _SAME else text
    except ValueError:
        return text


def clean(text: str, *, colours: bool) -> str:
    """A line without what a terminal would act on; its own colours kept if wanted."""
    if text.isprintable():
        return text
    parts, at = [], 0
    for match in _COLOUR.finditer(text):
        parts += [_strip(text[at : match.start()]), match[0] if colours else ""]
        at = match.end()
    ending = "\x1b[0m" if colours and at else ""
    return "".join((*parts, _strip(text[at:]), ending))


def _strip(text: str) -> str:
    return _CONTROL.sub("", _SEQUENCE.sub("", text))
