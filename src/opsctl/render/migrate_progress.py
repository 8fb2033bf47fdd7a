"""A migration while it works: one moving block in a terminal, a line now and then elsewhere, nothing with --json."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from opsctl.model.migrate import Counts, Progress
from opsctl.model.migrate_shown import Action
from opsctl.model.units import show_duration

_LINE_EVERY = 10.0  # seconds between two lines where nothing moves
_BAR = 28


def done_of(counts: Counts, action: Action) -> int:
    """The records that are through, whatever became of them."""
    if action == "rollback":
        return counts.scanned
    done = counts.removed + counts.changed if action == "finish" else counts.unchanged + counts.verified
    return done + counts.quarantined + counts.vanished


def line_of(now: Progress, action: Action) -> str:
    """All of it in one line."""
    counts, total = now.counts, f" of about {now.total:,}" if now.total else ""
    parts = [f"{done_of(counts, action):,}{total} records"]
    if now.rate:
        parts.append(f"{now.rate:,.0f}/s")
    if now.eta is not None and now.state == "running":
        parts.append(f"{show_duration(now.eta)} left")
    parts += [text for text in (wrong_of(counts), now.note) if text]
    return f"{now.state}: {' · '.join(parts)}"


def wrong_of(counts: Counts) -> str:
    """What did not go through, and why; "" where all did."""
    if not counts.quarantined:
        return ""
    reasons = ", ".join(f"{number:,} {code}" for code, number in sorted(counts.reasons.items()))
    return f"{counts.quarantined:,} in quarantine" + (f" ({reasons})" if reasons else "")


class Silent:
    """Takes everything and shows nothing."""

    def report(self, now: Progress) -> None:
        """One more look at the run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class Lines:
    """A line when the state changes, and every ten seconds."""

    def __init__(self, action: Action, redact: Callable[[str], str]) -> None:
        self._action = action
        self._redact = redact
        self._said = -_LINE_EVERY
        self._state = ""

    def report(self, now: Progress) -> None:
        """One more look at the run."""
        moment = time.monotonic()
        if now.state == self._state and moment - self._said < _LINE_EVERY:
            return
        self._said, self._state = moment, now.state
        sys.stderr.write(self._redact(line_of(now, self._action)) + "\n")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class Moving:
    """A bar with the rate, what is left of the time, and what went wrong."""

    def __init__(self, action: Action, redact: Callable[[str], str]) -> None:
        self._action = action
        self._redact = redact
        self._lock = threading.Lock()
        self._now: Progress | None = None
        console = Console(stderr=True, highlight=False)
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._shown)

    def report(self, now: Progress) -> None:
        """One more look at the run."""
        with self._lock:
            self._now = now
            # Not before there is something to show: until then a question may be asked on this terminal.
            if not self._live.is_started:
                self._live.start()

    def _shown(self) -> Group:
        with self._lock:
            now = self._now
        if now is None:
            return Group()
        lines: list[RenderableType] = [_bar(now, self._action), Text(f"  {_figures(now)}", style="dim")]
        wrong = wrong_of(now.counts)
        if wrong:
            lines.append(Text(f"  {wrong}", style="yellow"))
        if now.note:
            lines.append(Text(self._redact(f"  {now.note}"), style="dim"))
        return Group(*lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def _bar(now: Progress, action: Action) -> Table:
    done = done_of(now.counts, action)
    grid = Table.grid(padding=(0, 1))
    total = f"/ ~{now.total:,}" if now.total else ""
    bar = ProgressBar(total=max(now.total, done) or 1, completed=done, width=_BAR) if now.total else Text("")
    style = "cyan" if now.state == "running" else "yellow"
    grid.add_row(Text(now.state, style=style), bar, f"{done:,} {total}")
    return grid


def _figures(now: Progress) -> str:
    counts = now.counts
    parts = [f"{now.rate:,.0f}/s"]
    if now.eta is not None:
        parts.append(f"{show_duration(now.eta)} left")
    parts.append(f"{counts.verified:,} verified")
    for number, word in ((counts.unchanged, "unchanged"), (counts.vanished, "vanished"), (counts.removed, "removed")):
        if number:
            parts.append(f"{number:,} {word}")
    return " · ".join(parts)


Shown = Silent | Lines | Moving


def progress(action: Action, *, as_json: bool, redact: Callable[[str], str]) -> Shown:
    """What shows a run on this process's stderr."""
    if as_json:
        return Silent()
    return Moving(action, redact) if sys.stderr.isatty() else Lines(action, redact)
