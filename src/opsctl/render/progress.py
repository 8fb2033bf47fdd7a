"""A run while it works: moving lines in a terminal, plain lines elsewhere, nothing with --json."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from opsctl.model.events import Event, Note, Outcome, PhaseStarted, StepEnded, StepStarted, StepWaiting
from opsctl.model.units import show_duration, show_size
from opsctl.render.screen import Screen

MARKS = {
    Outcome.CHANGED: ("✓", "green"),
    Outcome.UNCHANGED: ("·", "dim"),
    Outcome.FAILED: ("✗", "bold red"),
    Outcome.SKIPPED: ("–", "yellow"),
}
_QUIET = ("memory", "settle")  # kinds whose success says nothing new
_ONCE = ("gate", "keep", "stop")  # kinds of which a service has one step
_CUT_SHORT = {
    "gate": "waiting for it was",
    "start": "its start was",
    "stop": "its stop was",
    "then": "a step after its gate was",
    "create": "creating containers was",
}


def line_of(event: Event, *, many: bool = False) -> Text | None:
    """What stays on the screen of an event; None for what only moves. `many` droplets are told apart."""
    head = f"{event.droplet}: " if many else ""
    match event:
        case PhaseStarted():
            return _phase(event, head)
        case Note():
            style = "yellow" if event.level == "warning" else "dim"
            return Text.assemble((f"{head}{'! ' if event.level == 'warning' else ''}{event.text}", style))
        case StepEnded():
            return _ended(event, head)
    return None


def _phase(event: PhaseStarted, head: str) -> Text:
    reserve, available = show_size(event.reserve), show_size(event.available)
    needs = f"needs {show_size(event.needs)} + {reserve} reserve, {available} available"
    return Text.assemble((f"{head}phase {event.phase}", "bold"), f"  {', '.join(event.services)}  ", (needs, "dim"))


def _ended(event: StepEnded, head: str) -> Text | None:
    kind = event.step.partition(":")[0]
    good = event.outcome in (Outcome.CHANGED, Outcome.UNCHANGED)
    if good and (kind in _QUIET or kind == "start"):
        return None
    if event.outcome is Outcome.SKIPPED and event.detail.startswith(("not tried", "given up")):
        return None  # the failure that made it so has a line of its own
    if event.outcome is Outcome.SKIPPED and event.detail.startswith("not begun") and kind not in _ONCE:
        return None  # a service has several steps, and one line about them says it all
    mark, style = ("✓", "green") if kind == "gate" and good else MARKS[event.outcome]
    seconds = f"  {show_duration(event.seconds)}" if event.seconds >= 0.05 else ""
    name = f" {event.service} " if event.service else ""
    return Text.assemble(f"{head}  ", (mark, style), f"{name} ", (_said(event, kind), "dim"), (seconds, "dim"))


def _said(event: StepEnded, kind: str) -> str:
    if kind == "keep" and not event.detail.startswith("not "):
        return f"already {event.detail}"
    if event.outcome is Outcome.SKIPPED and event.detail == "interrupted":
        return f"{_CUT_SHORT.get(kind, 'was')} interrupted"
    return event.detail.removeprefix(f"{event.service}: ")


class Silent:
    """Takes everything and shows nothing."""

    def emit(self, event: Event) -> None:
        """As Reporter.emit."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class Lines:
    """One line an event, for logs and pipes."""

    def __init__(self, *, many: bool, redact: Callable[[str], str]) -> None:
        self._many = many
        self._redact = redact
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """As Reporter.emit."""
        text = line_of(event, many=self._many)
        plain = text.plain if text is not None else self._waiting(event)
        if plain:
            with self._lock:
                sys.stderr.write(self._redact(plain) + "\n")
                sys.stderr.flush()

    def _waiting(self, event: Event) -> str:
        if not isinstance(event, StepWaiting):
            return ""
        return f"{event.droplet + ': ' if self._many else ''}  … {event.service}  {event.state}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class Moving:
    """What is over above, what is under way below, with its last state and its time."""

    def __init__(self, *, many: bool, redact: Callable[[str], str]) -> None:
        self._many = many
        self._redact = redact
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], tuple[StepStarted, float, str]] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._screen = Screen(stderr=True)
        self._live = Live(console=self._screen, refresh_per_second=10, transient=True, get_renderable=self._now)

    def emit(self, event: Event) -> None:
        """As Reporter.emit."""
        with self._lock:
            self._follow(event)
            # Not before there is something to show: until then a question may be asked on this terminal.
            if not self._live.is_started:
                self._live.start()
        text = line_of(event, many=self._many)
        if text is not None:
            self._screen.say(text)

    def _follow(self, event: Event) -> None:
        if isinstance(event, StepStarted) and event.step.partition(":")[0] not in ("keep", *_QUIET):
            self._open[event.droplet, event.step] = (event, time.monotonic(), "")
        elif isinstance(event, StepWaiting) and (event.droplet, event.step) in self._open:
            started, since, _ = self._open[event.droplet, event.step]
            self._open[event.droplet, event.step] = (started, since, event.state)
        elif isinstance(event, StepEnded):
            self._open.pop((event.droplet, event.step), None)

    def _now(self) -> Group:
        with self._lock:
            rows = list(self._open.values())
        table = Table.grid(padding=(0, 1))
        for started, since, state in rows:
            name = f"{started.droplet}: {started.title}" if self._many else started.title
            took = show_duration(time.monotonic() - since)
            table.add_row(" ", self._spinner, name, Text(self._redact(state), style="dim"), Text(took, style="dim"))
        return Group(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


Progress = Silent | Lines | Moving


def progress(*, as_json: bool, many: bool, redact: Callable[[str], str]) -> Progress:
    """The reporter for this process's stderr."""
    if as_json:
        return Silent()
    return Moving(many=many, redact=redact) if sys.stderr.isatty() else Lines(many=many, redact=redact)
