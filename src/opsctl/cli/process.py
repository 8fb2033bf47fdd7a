"""This process: its cancel token, its redactor, and what signals do to it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import typer

from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted
from opsctl.model.secret import Redactor

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class GoingOn:
    """What `migrate resume`, `finish`, `rollback` and `replay` call the command of a past run for."""

    run_id: str
    action: str  # run, finish, rollback or replay
    yes: bool = False
    as_json: bool = False
    verbose: int = 0
    dry_run: bool = False  # only finish and rollback
    argv: tuple[str, ...] = ()  # how the run is called from now on


@dataclass
class Process:
    """Handed to every command as typer's `ctx.obj`."""

    argv: tuple[str, ...]
    asking: bool = False  # a question is on the screen, and nothing else is under way
    going_on: GoingOn | None = None
    cancel: Cancel = field(default_factory=Cancel)
    redact: Redactor = field(default_factory=Redactor)

    @property
    def as_json(self) -> bool:
        """Whether the caller wants nothing but JSON on stdout, also when arguments are wrong."""
        return "--json" in self.argv


class CalledAs(Exception):
    """No error: a bare `--resume` has found how its run was called, and so the command is called again."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        super().__init__(*argv)
        self.argv = argv


@contextmanager
def question(process: Process) -> Iterator[None]:
    """While a question waits for its answer: the first signal ends it. Raises Interrupted."""
    process.asking = True
    try:
        yield
    except (typer.Abort, KeyboardInterrupt):
        if process.cancel.cancelled:
            sys.stderr.write("\n")
            raise Interrupted(
                "interrupted at a question", signum=process.cancel.signum, why="nothing was begun", next="opsctl status"
            ) from None
        raise
    finally:
        process.asking = False


def connecting(process: Process, to: str) -> None:
    """Say to somebody at a terminal what the first seconds of silence are."""
    if sys.stderr.isatty() and not process.as_json:
        sys.stderr.write(f"connecting to {to} …\n")


@contextmanager
def not_begun(process: Process, *, why: str, next: str) -> Iterator[None]:  # noqa: A002 - the contract's own word
    """While nothing is done yet but connecting and reading: an end there gets the command that goes on.

    Raises Interrupted.
    """
    try:
        yield
    except Interrupted as error:
        if error.info.next:  # whoever knew more has said it
            raise
        raise Interrupted(error.info.what, signum=error.exit_code - 128, why=why, next=next) from None


@contextmanager
def signals(process: Process) -> Iterator[None]:
    """The first signal asks everything to end cleanly; a second one ends it at once."""

    def handle(signum: int, _frame: FrameType | None) -> None:
        again = process.cancel.cancelled
        process.cancel.cancel(signum)
        # A prompt waits in a read that no token can end.
        if again or process.asking:
            raise KeyboardInterrupt

    before = {each: signal.signal(each, handle) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
