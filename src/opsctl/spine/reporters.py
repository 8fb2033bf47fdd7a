"""Consumers of the one stream of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from opsctl.model.events import Event
from opsctl.model.ports import Reporter
from opsctl.spine.journal import LocalCopy


class Tee:
    """Hands every event to several reporters."""

    def __init__(self, reporters: tuple[Reporter, ...]) -> None:
        self._reporters = reporters

    def emit(self, event: Event) -> None:
        """As Reporter.emit."""
        for reporter in self._reporters:
            reporter.emit(event)


class Recorder:
    """Writes events into the local copy of a run, redacted."""

    def __init__(self, copy: LocalCopy, redact: Callable[[str], str] = lambda text: text) -> None:
        self._copy = copy
        self._redact = redact

    def emit(self, event: Event) -> None:
        """As Reporter.emit."""
        values = {key: self._redact(each) if isinstance(each, str) else each for key, each in asdict(event).items()}
        self._copy.write(
            {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": type(event).__name__} | values
        )
