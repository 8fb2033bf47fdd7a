"""What a run has done so far, counted by several threads, and how far that is."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime

from opsctl.model.errors import OpsError
from opsctl.model.jsonable import to_jsonable
from opsctl.model.migrate import Counts, Progress
from opsctl.model.migrate_run import Migration
from opsctl.spine import runfiles

_WINDOW = 15.0  # seconds that the rate is measured over


def utc() -> str:
    """Now, ISO 8601, UTC, to the second."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


class Tally:
    """Counts and the state; `tick` tells them, to the caller and into the progress file."""

    def __init__(self, m: Migration, total: int | None, done: Iterable[str]) -> None:
        self.total, self.note = total, ""
        self._m, self._done = m, tuple(done)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._state = "running"
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._written_at = 0.0

    def add(self, **counts: int) -> None:
        """Count more of what `Counts` has."""
        with self._lock:
            self._counts.update(counts)

    def refused(self, code: str) -> None:
        """Count one that went to quarantine."""
        with self._lock:
            self._counts["quarantined"] += 1
            self._reasons[code] += 1

    def become(self, state: str) -> None:
        """What the run is doing: running, paused, waiting, draining, ended."""
        with self._lock:
            self._state = state

    def counts(self) -> Counts:
        """As they are now."""
        with self._lock:
            return Counts(**self._counts, reasons=dict(self._reasons))

    def progress(self) -> Progress:
        """How far it is, by the rate of the last seconds."""
        counts = self.counts()
        done = sum(int(getattr(counts, name)) for name in self._done)
        rate = self._rate(done)
        left = None if self.total is None else max(0, self.total - done)
        eta = left / rate if left is not None and rate > 0 else None
        return Progress(self._m.run_id, self._state, counts, self.total, rate, eta, self.note)

    def _rate(self, done: int) -> float:
        now = time.monotonic()
        with self._lock:
            self._seen.append((now, done))
            while len(self._seen) > 2 and self._seen[0][0] < now - _WINDOW:
                self._seen.popleft()
            (begin, before) = self._seen[0]
        return (done - before) / (now - begin) if now > begin else 0.0

    def tick(self, *, last: bool = False) -> None:
        """Tell the caller, and once a second the progress file; a full disk is the business of those who must write."""
        progress = self.progress()
        self._m.report(progress)
        if last or time.monotonic() - self._written_at >= 1.0:
            self._written_at = time.monotonic()
            try:
                runfiles.replace(self._m.progress, {**to_jsonable(progress), "at": utc()})
            except OpsError:
                return
