"""One token for deadline and Ctrl-C, passed to everything that waits."""

from __future__ import annotations

import threading
import time

from opsctl.model.errors import DeadlineExceeded, Interrupted


class Cancel:
    """Cooperative cancellation: `wait` instead of `sleep`, `check` inside loops, `child` for a tighter bound.

    Times are this process's monotonic clock, in seconds.
    """

    def __init__(self, timeout: float | None = None, *, parent: Cancel | None = None) -> None:
        self._own = threading.Event()
        self._parent = parent
        self._signum = 2
        end = None if timeout is None else time.monotonic() + timeout
        above: float | None = parent._end if parent is not None else None
        self._end: float | None = end if above is None else above if end is None else min(end, above)

    def child(self, timeout: float | None = None) -> Cancel:
        """A token that ends with this one, or after `timeout` seconds, or on its own."""
        return Cancel(timeout, parent=self)

    def cancel(self, signum: int = 2) -> None:
        """Ask everything that waits on this token to stop."""
        self._signum = signum
        self._own.set()

    @property
    def signum(self) -> int:
        """The signal that asked for the end (SIGINT where nobody said)."""
        return self._signum if self._own.is_set() or self._parent is None else self._parent.signum

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end (a deadline alone does not count)."""
        return self._own.is_set() or (self._parent is not None and self._parent.cancelled)

    @property
    def remaining(self) -> float | None:
        """Seconds left, never below 0; None without a bound."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._end is not None and time.monotonic() >= self._end

    @property
    def done(self) -> bool:
        """Cancelled or expired."""
        return self.cancelled or self.expired

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; True as soon as the token is done."""
        end = time.monotonic() + seconds
        while not self.done:
            left = end - time.monotonic()
            if left <= 0:
                return False
            # Parents have no way to wake a child's event: a short slice bounds how late it notices.
            self._own.wait(min(left, 0.1, self.remaining if self.remaining is not None else left))
        return True

    def check(self, waiting_for: str = "") -> None:
        """Raise Interrupted or DeadlineExceeded if the token is done."""
        if self.cancelled:
            raise Interrupted(signum=self.signum)
        if self.expired:
            raise DeadlineExceeded(f"no time left for {waiting_for}" if waiting_for else "the deadline passed")
