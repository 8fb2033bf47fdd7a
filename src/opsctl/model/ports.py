"""The protocols through which jobs reach the outside world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.events import Event
from opsctl.model.secret import Secret


@dataclass(frozen=True)
class Script:
    """A piece of bash to run on a host.

    `text` is constant; everything variable travels in `args` ($1, $2, …) or, if secret, in `secrets` (exported
    variables that never appear in an argument list, a log or a journal).
    """

    text: str
    args: tuple[str, ...] = ()
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    stdin: bytes | None = None

    @classmethod
    def of(cls, *argv: str) -> Script:
        """One command; its words are passed as they are, whatever they hold."""
        return cls('"$@"', argv)


@dataclass(frozen=True)
class Completed:
    """What a script left behind. `code` is the exit status (128 + n after signal n)."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """stdout, decoded with replacement."""
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        """stderr, decoded with replacement and stripped."""
        return self.stderr.decode(errors="replace").strip()


@dataclass(frozen=True)
class Privilege:
    """How this connection's commands reach the engine."""

    user: str
    uid: int
    sudo: bool  # commands run through `sudo -n`
    boot_id: str


@dataclass(frozen=True)
class Endpoint:
    """Where a forwarded service can be reached from this process."""

    host: str  # "127.0.0.1", or "" for a Unix socket
    port: int
    path: str = ""  # Unix socket path, in a folder only this user may enter


class Shell(Protocol):
    """Something that runs scripts on a host, several at a time from several threads."""

    def run(self, script: Script, *, cancel: Cancel, timeout: float) -> Completed:
        """Run to the end and return the output; the exit status is not judged.

        Raises ConnectionLost, DeadlineExceeded (the remote process group is killed), Interrupted.
        """
        ...

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None) -> Iterator[str]:
        """The lines of stdout as they come, without their newline. Closing the iterator kills the remote process.

        Raises as `run`, and StepFailed with the last lines of stderr when the exit status is not 0.
        """
        ...


@dataclass(frozen=True)
class GuardSpec:
    """Which lease to take, and what to tell others who ask for it."""

    scope: str  # "stack" or "data:<store>"
    run_id: str
    holder: Mapping[str, str]  # user, from, command, started (UTC, ISO 8601), opsctl (version)
    under: str = ""  # the run that has this lease and of which this one is a step: work beside it, and end with it


class Guard(Shell, Protocol):
    """A held lease: its scripts run inside a process on the host that dies with its owner.

    Free again as soon as the channel closes, or after 45 s without a heartbeat.
    """

    @property
    def abandoned(self) -> Mapping[str, str] | None:
        """The holder that never gave the lease back, if the last one did not."""
        ...

    def release(self) -> None:
        """Give the lease back; safe to call twice."""
        ...


class Host(Shell, Protocol):
    """One droplet: a single connection, everything bounded."""

    @property
    def name(self) -> str:
        """The droplet's name in the stack file, else its address."""
        ...

    @property
    def address(self) -> str:
        """user@host[:port], or `local`."""
        ...

    def privilege(self, *, cancel: Cancel) -> Privilege:
        """Connect if need be, and say as whom commands run."""
        ...

    def guard(self, spec: GuardSpec, *, cancel: Cancel) -> Guard:
        """Take a lease. Raises LeaseHeld with the holder, StepFailed if the state folder cannot be written."""
        ...

    def put(self, data: bytes, path: str, *, mode: int, cancel: Cancel, timeout: float) -> None:
        """Write a file whole or not at all (temporary name, then rename)."""
        ...

    def get(self, path: str, *, cancel: Cancel, timeout: float) -> bytes:
        """Read a file. Raises StepFailed when it cannot be read."""
        ...

    def forward(
        self, target_host: str, target_port: int, *, local_port: int | None = None
    ) -> AbstractContextManager[Endpoint]:
        """A loopback port here that reaches `target_host:target_port` as seen from the host."""
        ...

    def interactive(self, argv: Sequence[str], *, tty: bool, cancel: Cancel) -> int:
        """Connect this process's stdin, stdout and stderr to a command there; its exit status."""
        ...

    def close(self) -> None:
        """End the connection and everything started on it; safe to call twice."""
        ...


class Reporter(Protocol):
    """Takes a job's events: live progress, journal and audit are consumers of the one stream."""

    def emit(self, event: Event) -> None:
        """Take one event; called from any thread, never blocks for long, never raises."""
        ...


class Clock(Protocol):
    """Wall-clock time for stamps that people read; never for deciding anything on a host."""

    def now_utc(self) -> str:
        """ISO 8601 with seconds and `Z`."""
        ...
