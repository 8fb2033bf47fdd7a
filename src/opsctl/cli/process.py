"""This process: its cancel token, its redactor, and what signals do to it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from opsctl.model.cancel import Cancel
from opsctl.model.secret import Redactor

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Process:
    """Handed to every command as typer's `ctx.obj`."""

    argv: tuple[str, ...]
    cancel: Cancel = field(default_factory=Cancel)
    redact: Redactor = field(default_factory=Redactor)

    @property
    def as_json(self) -> bool:
        """Whether the caller wants nothing but JSON on stdout, also when arguments are wrong."""
        return "--json" in self.argv


@contextmanager
def signals(process: Process) -> Iterator[None]:
    """The first signal asks everything to end cleanly; a second one ends it at once."""

    def handle(signum: int, _frame: FrameType | None) -> None:
        if process.cancel.cancelled:
            raise KeyboardInterrupt
        process.cancel.cancel(signum)

    before = {each: signal.signal(each, handle) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
