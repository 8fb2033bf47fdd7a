"""What runs between the threads of a migration: bounded channels, what is in flight, and who ends all of them."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, Interrupted

T = TypeVar("T")

SLICE = 0.1  # seconds between two looks at the cancel token
TICK = 0.5  # seconds between two reports
_COLLECTED = 50_000  # new objects between two looks for cycles
_SWITCHED = 0.0001  # seconds for which a thread may keep the interpreter from the others
DRAIN = 60.0  # seconds that what is in flight may take once somebody asked for the end


class Channel(Generic[T]):
    """A bounded queue that ends: when the last of its producers is done and it is empty."""

    def __init__(self, size: int, producers: int) -> None:
        self._waiting: deque[T] = deque()
        self._size, self._producers = max(1, size), producers
        self._moved = threading.Condition()

    def put(self, value: T, cancel: Cancel) -> None:
        """Wait for room. Raises Interrupted."""
        with self._moved:
            while len(self._waiting) >= self._size:
                cancel.check()
                self._moved.wait(SLICE)
            self._waiting.append(value)
            self._moved.notify_all()

    def take(self, most: int, cancel: Cancel, *, patience: float | None = None) -> list[T] | None:
        """What is there, at least one and at most so many; nothing once it has ended. Raises Interrupted.

        None when `patience`, in seconds, is over.
        """
        end = None if patience is None else time.monotonic() + patience
        with self._moved:
            while not self._waiting:
                if not self._producers:
                    return []
                cancel.check()
                if end is not None and time.monotonic() >= end:
                    return None
                self._moved.wait(SLICE)
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._moved.notify_all()
            return taken

    def each(self, cancel: Cancel) -> Iterator[T]:
        """One after the other, to the end."""
        while taken := self.take(1, cancel):
            yield taken[0]

    def done(self) -> None:
        """One producer has nothing more to say."""
        with self._moved:
            self._producers -= 1
            self._moved.notify_all()


class Flight:
    """The keys under way, and their bytes: no key is under way twice, so that an older value never overtakes."""

    def __init__(self, most_bytes: int) -> None:
        self._keys: set[bytes] = set()
        self._bytes, self._most = 0, most_bytes
        self.awaited = False  # somebody waits for keys to be settled
        self._moved = threading.Condition()

    def split(self, keys: Iterable[bytes]) -> set[bytes]:
        """Which of these are under way already."""
        with self._moved:
            return self._keys.intersection(keys)

    def enter(self, keys: Iterable[bytes]) -> None:
        """These are under way from now on."""
        with self._moved:
            self._keys.update(keys)

    def load(self, size: int, cancel: Cancel) -> None:
        """Wait until so many bytes more may be in memory; one batch alone always may. Raises Interrupted."""
        with self._moved:
            while self._bytes and self._bytes + size > self._most:
                cancel.check()
                self._moved.wait(SLICE)
            self._bytes += size

    def unload(self, size: int) -> None:
        """So many bytes are no longer in memory."""
        with self._moved:
            self._bytes -= size
            self._moved.notify_all()

    def leave(self, keys: Iterable[bytes]) -> None:
        """These are settled."""
        with self._moved:
            self._keys.difference_update(keys)
            self._moved.notify_all()

    def until_free(self, keys: Iterable[bytes], cancel: Cancel) -> None:
        """Wait until none of these is under way. Raises Interrupted."""
        wanted = set(keys)
        with self._moved:
            while not self._keys.isdisjoint(wanted):
                self.awaited = True
                cancel.check()
                self._moved.wait(SLICE)
            self.awaited = False


@contextmanager
def _tuned() -> Iterator[None]:
    """An interpreter for threads that hand records on.

    What flows is free of cycles: to look for some every 700 records takes a tenth of the time of all. And whoever has
    an answer from a server waits for the interpreter until the thread that counts lets go: after 5 ms, left alone.
    """
    collected, switched = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(max(collected[0], _COLLECTED), *collected[1:])
    sys.setswitchinterval(min(switched, _SWITCHED))
    try:
        yield
    finally:
        gc.set_threshold(*collected)
        sys.setswitchinterval(switched)


class Crew:
    """Threads that end together: the first error ends all, a stop that was asked for lets them drain.

    `reading` ends what brings new work, `work` ends everything at once.
    """

    def __init__(self, asked: Cancel) -> None:
        self.asked, self.reading, self.work = asked, asked.child(), Cancel()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._living = 0
        self._error: BaseException | None = None

    def add(self, name: str, target: Callable[[], None]) -> None:
        """One more thread, started by `run`."""
        self._threads.append(threading.Thread(target=self._body, args=(target,), name=f"migrate-{name}"))

    def run(self, tick: Callable[[], None]) -> None:
        """Start them, call `tick` now and then, and return when all have ended. Raises the first error of any."""
        with _tuned():
            self._run(tick)
        if self._error is not None:
            raise self._error

    def _run(self, tick: Callable[[], None]) -> None:
        self._living = len(self._threads)
        for thread in self._threads:
            thread.start()
        draining: Cancel | None = None
        while self._wait():
            if draining is None and self.asked.done:
                draining = Cancel(DRAIN)
            if draining is not None and draining.expired:
                self.work.cancel(self.asked.signum)
            self._guarded(tick)
        for thread in self._threads:
            thread.join()
        self._guarded(tick)

    @property
    def cut(self) -> bool:
        """Whether somebody asked for the end."""
        return self.asked.done

    def _wait(self) -> bool:
        with self._changed:
            if self._living:
                self._changed.wait(TICK)
            return bool(self._living)

    def _guarded(self, tick: Callable[[], None]) -> None:
        try:
            tick()
        except BaseException as error:  # noqa: BLE001 - no thread is left behind, whoever is to hear of it
            self._fail(error)

    def _body(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001 - ends the run; raised by the thread that called
            self._fail(error)
        finally:
            with self._changed:
                self._living -= 1
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        ended = self.work.done or self.asked.done
        with self._changed:
            # What ends only because the others do is no reason of its own.
            if self._error is None and not (ended and isinstance(error, Interrupted | DeadlineExceeded)):
                self._error = error
        if self._error is not None:
            self.reading.cancel()
            self.work.cancel()
