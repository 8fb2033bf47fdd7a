"""How fast a migration may go, and when: rate, window, pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Limits

POLL = 0.5  # seconds between two looks at the control file and the clock


def in_window(minute: int, window: tuple[int, int]) -> bool:
    """Whether a minute of the day lies in [begin, end); over midnight where begin is later; all day where equal."""
    begin, end = window
    if begin == end:
        return True
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def minute_now() -> int:
    """The minute of the day, local time."""
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min


class Pace:
    """Asked between two batches. `told` hears `running`, `paused` or `waiting` whenever that changes."""

    def __init__(
        self, limits: Limits, control: Path, told: Callable[[str], None], *, minute: Callable[[], int] = minute_now
    ) -> None:
        self._limits, self._control, self._told, self._minute = limits, control, told, minute
        self._state = "running"
        self._free_at = time.monotonic()

    @property
    def batch(self) -> int:
        """Records in a batch: no more than a second's worth, so that a low rate does not come in bursts."""
        rate = self._limits.rate
        return self._limits.batch if rate is None else max(1, min(self._limits.batch, int(rate)))

    def ready(self, cancel: Cancel) -> None:
        """Wait until nobody pauses it and the clock is inside the window. Raises Interrupted."""
        while (state := self._look()) != "running":
            self._become(state)
            if cancel.wait(POLL):
                cancel.check()
        self._become("running")

    def spent(self, records: int, cancel: Cancel) -> None:
        """Wait as long as so many records are to take. Raises Interrupted."""
        if self._limits.rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 1.0) + records / self._limits.rate
        if self._free_at > now and cancel.wait(self._free_at - now):
            cancel.check()

    def _look(self) -> str:
        if self._control_word() == "pause":
            return "paused"
        window = self._limits.window
        return "running" if window is None or in_window(self._minute(), window) else "waiting"

    def _control_word(self) -> str:
        try:
            return self._control.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return "run"

    def _become(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._told(state)
