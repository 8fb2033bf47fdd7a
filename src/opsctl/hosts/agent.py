"""The client of the agent on a host: several scripts at a time over one channel, all of them bounded."""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from opsctl.hosts import wire
from opsctl.hosts.failures import again, denied, lost, not_started, taken_away, timed_out
from opsctl.hosts.frames import Lines, Work
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, StepFailed
from opsctl.model.ports import Completed, Privilege, Script

HEARTBEAT = 10.0
SILENCE = 45.0
START_BOUND = 30.0
_SLICE = 0.1


class Pipe(Protocol):
    """The two ends of a channel to a process on a host."""

    def send(self, data: bytes) -> None:
        """Write all of it; OSError or EOFError when the channel is gone."""
        ...

    def recv(self) -> bytes:
        """What is there, b"" at the end; blocks."""
        ...

    def close(self) -> None:
        """End its input, at least; safe to call twice."""
        ...

    def kill(self) -> None:
        """End it now, and wake up whoever blocks in `recv`; safe to call twice."""
        ...

    def last_words(self) -> tuple[int | None, str]:
        """Exit status, if known, and the end of stderr, once `recv` has returned b""."""
        ...


@dataclass(frozen=True)
class Settings:
    """What an agent needs to know to start; `silence` and `heartbeat` in seconds."""

    name: str
    sudo: wire.Sudo = "auto"
    socket: str | None = None
    silence: float = SILENCE
    heartbeat: float = HEARTBEAT


class Agent:
    """One agent: a reader and a writer thread, and the scripts under way. Threads end with `close`."""

    def __init__(self, open_pipe: Callable[[list[str]], Pipe], settings: Settings) -> None:
        self._settings = settings
        self._nonce = secrets.token_hex(8)
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._works: dict[int, Work] = {}
        self._numbers = 0
        self._heard = time.monotonic()
        self._greeting = threading.Condition()
        self._privilege: Privilege | None = None
        self._verdicts: dict[int, str] = {}
        self._failure: OpsError | None = None
        self._goodbye = threading.Event()
        text = wire.agent_text(self._nonce, settings.silence)
        self._pipe = open_pipe(wire.loader(self._nonce, len(text), settings.sudo, settings.socket))
        self._out.put(text)
        self._threads = [
            threading.Thread(target=self._read, name=f"{settings.name}: reader"),
            threading.Thread(target=self._write, name=f"{settings.name}: writer"),
        ]
        for thread in self._threads:
            thread.start()

    # What callers use

    def privilege(self, cancel: Cancel) -> Privilege:
        """Wait for the agent's greeting."""
        self._await(lambda: self._privilege is not None, cancel)
        assert self._privilege is not None
        return self._privilege

    def lease(
        self, state_dir: str, scope: str, holder: Mapping[str, str], cancel: Cancel, *, under: str = ""
    ) -> tuple[int, str]:
        """Ask for a lease and wait for the verdict; its number is for `run`, `stream` and `give_back`."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
        self._out.put(wire.lease_request(number, state_dir, scope, holder, under))
        self._await(lambda: number in self._verdicts, cancel)
        return number, self._verdicts.pop(number)

    def give_back(self, lease: int, *, bound: float = 5.0) -> None:
        """End what runs under a lease, and free it; a channel that is gone has freed it already."""
        self._out.put(f"u {lease}\n".encode())
        with contextlib.suppress(OpsError):
            self._await(lambda: lease in self._verdicts, Cancel(bound))

    def run(self, script: Script, *, cancel: Cancel, timeout: float, lease: int = 0) -> Completed:
        """As Shell.run."""
        bound = cancel.child(timeout)
        work = self._begin("r", script, bound, lease)
        try:
            while not self._settled(work, bound, timeout):
                pass
        finally:
            self._finish(work)
        if work.overflow:
            raise StepFailed(
                f"a command on {self._settings.name} wrote more than its host could hold",
                why="the output is kept in memory there (/dev/shm) until the command ends",
                code="output-too-large",
            )
        return Completed(work.code or 0, b"".join(work.stdout), b"".join(work.stderr))

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None, lease: int = 0) -> Iterator[str]:
        """As Shell.stream."""
        bound = cancel.child(timeout)
        work = self._begin("s", script, bound, lease)
        try:
            over = False
            while not over:
                over = self._settled(work, bound, timeout)
                while work.lines:
                    yield work.lines.popleft()
        finally:
            self._finish(work)
        if work.code:
            tail = b"".join(work.stderr).decode(errors="replace").strip().splitlines()[-5:]
            raise StepFailed(f"a command on {self._settings.name} ended with status {work.code}", why="\n".join(tail))

    @property
    def alive(self) -> bool:
        """Whether the channel still works, as far as is known."""
        return self._failure is None

    def close(self, *, bound: float = 2.0) -> None:
        """End everything it runs, wait up to `bound` seconds for it to say so, and end the threads."""
        if self._failure is None and not self._goodbye.is_set():
            self._out.put(b"q\n")
            self._goodbye.wait(bound)
        self._fail(lost(self._settings.name, "the connection was closed here"))
        self._pipe.close()
        reader, writer = self._threads
        writer.join(bound)
        reader.join(bound)
        self._pipe.kill()
        reader.join(bound)

    # One script

    def _begin(self, kind: Literal["r", "s"], script: Script, bound: Cancel, lease: int) -> Work:
        bound.check()
        with self._lock:
            if self._failure is not None:
                raise again(self._failure)
            self._numbers += 1
            used = {work.slot for work in self._works.values()}
            slot = next(n for n in range(len(used) + 1) if n not in used)
            work = self._works[self._numbers] = Work(self._numbers, slot)
        self._out.put(wire.request(work.number, slot, kind, script, lease))
        return work

    def _settled(self, work: Work, bound: Cancel, timeout: float | None) -> bool:
        """Wait for news of `work`; True when it is over."""
        with work.changed:
            while not work.over and not work.lines:
                if bound.cancelled:
                    bound.check()
                if bound.expired:
                    raise timed_out(self._settings.name, timeout)
                work.changed.wait(min(_SLICE, bound.remaining if bound.remaining is not None else _SLICE))
            if work.failure is not None and work.code is None:
                raise again(work.failure)
            return work.over

    def _finish(self, work: Work) -> None:
        # A killed script keeps its place until the agent says that it is gone: its output files are still in use.
        if not work.over:
            self._out.put(f"k {work.number}\n".encode())

    def _await(self, there: Callable[[], bool], cancel: Cancel) -> None:
        bound = cancel.child(START_BOUND)
        with self._greeting:
            while not there():
                if self._failure is not None:
                    raise again(self._failure)
                if bound.cancelled:
                    bound.check()
                if bound.expired:
                    raise not_started(self._settings.name, None, f"no greeting within {START_BOUND:g} s")
                self._greeting.wait(_SLICE)

    # Threads

    def _write(self) -> None:
        main = threading.main_thread()
        due = time.monotonic() + self._settings.heartbeat
        try:
            # A forgotten close must not keep a process alive whose main thread is over.
            while main.is_alive() and self._failure is None:
                try:
                    data = self._out.get(timeout=max(0.0, min(1.0, due - time.monotonic())))
                except queue.Empty:
                    data = b""
                if data is None:
                    return
                if time.monotonic() >= due:
                    data, due = data + b"p\n", time.monotonic() + self._settings.heartbeat
                    self._check_heard()
                if data:
                    self._pipe.send(data)
        except (OSError, EOFError, ValueError) as error:  # ValueError: a local pipe that was closed here meanwhile
            # Before the greeting, what the host said while it turned us away is more to the point: the reader has it.
            if self._privilege is not None:
                self._fail(lost(self._settings.name, str(error)))
        finally:
            self._pipe.close()

    def _check_heard(self) -> None:
        if time.monotonic() - self._heard > self._settings.silence:
            self._fail(lost(self._settings.name, f"nothing heard for {self._settings.silence:g} s"))

    def _read(self) -> None:
        lines = Lines()
        try:
            while data := self._pipe.recv():
                self._heard = time.monotonic()
                for line in lines.feed(data):
                    self._take(line)
            self._ended()
        except (OSError, EOFError) as error:
            self._fail(lost(self._settings.name, str(error)))
        finally:
            self._out.put(None)

    def _ended(self) -> None:
        if self._goodbye.is_set() or self._privilege is not None:
            self._fail(lost(self._settings.name, "the connection ended"))
        else:
            self._fail(not_started(self._settings.name, *self._pipe.last_words()))

    def _take(self, line: bytes) -> None:
        if self._privilege is None:
            self._greet(line)
            return
        kind, _, rest = line.partition(b" ")
        if kind == b"z":
            self._goodbye.set()
        elif kind == b"b":
            self._fail(taken_away(self._settings.name, rest.decode(errors="replace")))
        elif kind == b"g":
            number, _, verdict = rest.decode(errors="replace").partition(" ")
            with self._greeting:
                self._verdicts[int(number)] = verdict
                self._greeting.notify_all()
        elif kind != b"p":
            self._frame(kind, rest)

    def _frame(self, kind: bytes, rest: bytes) -> None:
        number, _, content = rest.partition(b" ")
        with self._lock:
            work = self._works.get(int(number))
            if kind == b"x":
                self._works.pop(int(number), None)
        if work is not None:
            work.take(kind, content)

    def _greet(self, line: bytes) -> None:
        # Everything before the mark is noise of the user's start-up files.
        mark, _, rest = line.decode(errors="replace").partition(" ")
        if mark != f"@{self._nonce}":
            return
        words = rest.split(" ")
        with self._greeting:
            if words[0] == "ok":
                self._privilege = Privilege(words[1], int(words[2]), words[4] == "sudo", words[3])
            else:
                self._failure = denied(self._settings.name, user=words[1], asked=words[2])
            self._greeting.notify_all()

    def _fail(self, error: OpsError) -> None:
        with self._lock:
            self._failure = self._failure or error
            works, self._works = list(self._works.values()), {}
        for work in works:
            work.fail(self._failure)
        with self._greeting:
            self._greeting.notify_all()
