"""What `startup`, `stop` and `restart` have in common: the call, its progress, its way out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from opsctl import __version__
from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.output import finish
from opsctl.cli.process import CalledAs
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode
from opsctl.model.result import DropletResult

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.jobs.resume import Unfinished
    from opsctl.model.operate import DropletFacts
    from opsctl.model.ports import Reporter
    from opsctl.model.run import Changed

T = TypeVar("T")

UNDER = "OPSCTL_UNDER_RUN"  # the run whose lease a command of a `then` step works under


class FailurePolicy(StrEnum):
    """What becomes of a run that fails."""

    stop = "stop"
    keep = "keep"
    rollback = "rollback"


OnFailureOption = Annotated[
    FailurePolicy,
    typer.Option(
        "--on-failure",
        help="stop: stop what failed, keep what is healthy; keep: touch nothing; rollback: take this run back.",
    ),
]


class Ahead(Generic[T]):
    """Something that is read in a thread of its own from now on."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._value: T
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="facts")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._read()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever asks for the result
            self._error = error

    def result(self) -> T:
        """Wait for it. Raises what the reading raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value


def change(
    context: Context,
    name: str,
    job: Callable[[Call], DropletResult[Changed]],
    *,
    as_json: bool,
    dry_run: bool,
    on_failure: FailurePolicy = FailurePolicy.stop,
) -> ExitCode:
    """Run a changing job on every droplet of this call, show it, and say what to exit with."""
    from opsctl.render.progress import progress

    many = len(context.droplets(reading=dry_run)) > 1
    _ = context.wait  # what it cannot read is said before anything is connected
    with progress(as_json=as_json or dry_run, many=many, redact=context.redact) as reporter:

        def one(session: Session) -> DropletResult[Changed]:
            def attempt() -> DropletResult[Changed]:
                call = call_of(context, session, reporter, on_failure=on_failure, dry_run=dry_run)
                return told(job(call), call, as_json=as_json)

            return patiently(context, session, reporter, attempt)

        result = context.over(one, reading=dry_run)

    def render(each: DropletResult[Changed]) -> None:
        from opsctl.render.run import print_changed

        if each.result is not None:
            print_changed(each.name, each.result, redact=context.redact, many=many)

    return finish(name, result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)


def patiently(context: Context, session: Session, reporter: Reporter, attempt: Callable[[], T]) -> T:
    """Do it; with `--wait`, as soon as the lease is free. Each attempt has to make its call, and so its plan, anew."""
    from opsctl.jobs.call import STATE_DIR
    from opsctl.jobs.lease import Patience

    patience = Patience(context.wait, session.droplet.name, STATE_DIR, reporter)
    return patience.over(attempt, session.reads, cancel=session.cancel)


def told(done: DropletResult[T], call: Call, *, as_json: bool) -> DropletResult[T]:
    """The result with what is known of the run that was resumed, where no progress line has said it."""
    if call.unfinished is None or not (as_json or call.dry_run):
        return done
    from dataclasses import replace

    from opsctl.jobs.resume import compare
    from opsctl.model.run import Changed

    result: Any = done.result
    changed = result if isinstance(result, Changed) else getattr(result, "changed", None)
    if not isinstance(changed, Changed):
        return done
    changed = replace(changed, notes=(*compare(call.unfinished, changed.plan["steps"]), *changed.notes))
    whole: Any = changed if isinstance(result, Changed) else replace(result, changed=changed)
    return replace(done, result=whole)


def call_of(
    context: Context,
    session: Session,
    reporter: Reporter,
    *,
    on_failure: FailurePolicy = FailurePolicy.stop,
    dry_run: bool = False,
    ahead: bool = True,
    run_id: str = "",
) -> Call:
    """What a changing job is given on one droplet; without `ahead` its facts are read anew each time it asks.

    `run_id` is given where one command makes several runs.
    """
    run_id = run_id or context.run_id

    unfinished = _unfinished(context, session) if context.resume else None

    def read() -> DropletFacts:
        return session.engine.facts(cancel=session.cancel)

    # The droplet is read while this process still loads what it needs to work with the answer.
    facts = Ahead(read).result if ahead else read
    from opsctl.jobs.call import Call
    from opsctl.spine.audit import Actor, Entry

    started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Call(
        host=session.host,
        engine=session.engine,
        facts=facts,
        stack=session.stack,
        droplet=session.droplet,
        entry=Entry(
            run_id,
            context.command_line,
            "",
            Actor.current(),
            started,
            __version__,
            name=context.name,
            under=os.environ.get(UNDER, ""),
        ),
        reporter=reporter,
        cancel=session.cancel,
        on_failure=on_failure.value,
        dry_run=dry_run,
        commands=frozenset(each.name for each in commands.COMMANDS),
        opsctl=lambda words, cancel: _opsctl(words, session, run_id, cancel),
        redact=context.redact,
        resumable=context.resumable,
        unfinished=unfinished,
    )


def _unfinished(context: Context, session: Session) -> Unfinished:
    from opsctl.jobs.call import STATE_DIR
    from opsctl.jobs.resume import OtherOptions, adopted, find

    many = len(context.droplets(reading=False)) > 1
    try:
        return find(
            session.reads,
            wanted=context.resume or "",
            name=context.name,
            command=context.command_line,
            droplet=session.droplet.name,
            state_dir=STATE_DIR,
            many=many,
            cancel=session.cancel,
        )
    except OtherOptions as other:
        # Where no options are given, those of the run are meant.
        argv = None if many else adopted(context.process.argv, context.name, other.run)
        if argv is None:
            raise
        raise CalledAs(argv) from None


def _opsctl(words: tuple[str, ...], session: Session, run_id: str, cancel: Cancel) -> int:
    """Run an opsctl command of a `then` step as a process of its own, on the same stack and droplet.

    It works under this run's lease: its own would be refused as long as we have that.
    """
    import subprocess
    import sys

    where = ["--stack", session.stack.path] if session.stack.path else []
    argv = [sys.executable, "-m", "opsctl", *words, *where, "-d", session.droplet.name]
    environment = {**os.environ, UNDER: os.environ.get(UNDER) or run_id}
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment) as process:
        while process.poll() is None:
            if cancel.wait(0.05):
                process.terminate()
                break
        code = process.wait(timeout=10)
    cancel.check(f"opsctl {' '.join(words)}")
    return code
