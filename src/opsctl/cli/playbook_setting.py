"""In what surroundings a playbook runs: droplets connected at first use, questions, and progress that makes room."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import typer

from opsctl.cli.changing import call_of, patiently
from opsctl.cli.context import Context, Session
from opsctl.cli.process import question as asked
from opsctl.jobs.call import STATE_DIR, Call
from opsctl.jobs.playbook import Setting
from opsctl.jobs.playbook_place import Place
from opsctl.jobs.recover_link import Link, Means
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, ExitCode
from opsctl.model.events import Event
from opsctl.model.ports import Reporter
from opsctl.model.secret import Secret
from opsctl.render.progress import Progress, Silent, progress

_STOPS = 60.0  # s; a migration drains what is under way


class Stage:
    """Progress that leaves the screen while a question is asked."""

    def __init__(self, make: Callable[[], Progress]) -> None:
        self._make = make
        self._now: Progress = make()
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """As Reporter.emit."""
        with self._lock:
            self._now.emit(event)

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """Nothing moves inside."""
        with self._lock:
            self._now.__exit__(None, None, None)
            try:
                yield
            finally:
                self._now = self._make()

    def close(self) -> None:
        """End it."""
        self._now.__exit__(None, None, None)


@contextmanager
def places_of(context: Context, reporter: Reporter | None) -> Iterator[Callable[[str], Place]]:
    """Droplets by name ("" is the one that the call is about), connected at first use, ended with the block."""
    shown = reporter or Silent()
    home = context.one()
    found: dict[str, Place] = {}
    lock = threading.Lock()
    with ExitStack() as stack:

        def place(name: str) -> Place:
            with lock:
                name = name or home.name
                if name not in found:
                    session = stack.enter_context(context.session(context.stack.droplets[name]))
                    found[name] = place_of(context, session, shown)
                return found[name]

        yield place


@contextmanager
def setting_of(
    context: Context, run: str, approved: tuple[str, ...], *, as_json: bool, dry_run: bool
) -> Iterator[Setting]:
    """Everything that running, resuming and taking back needs."""
    _ = context.wait, context.stack  # what cannot be read is said before anything is connected
    many = len(context.stack.droplets) > 1
    stage = Stage(lambda: progress(as_json=as_json or dry_run, many=many, redact=context.redact))
    try:
        with places_of(context, stage) as places:
            entry = places("").make_call(run, context.command_line, dry_run).entry
            yield Setting(
                places=places,
                reveal=lambda name: _reveal(context, name),
                reporter=stage,
                cancel=context.cancel,
                entry=entry,
                state_dir=STATE_DIR,
                ask=lambda text: _ask(context, stage, text, as_json=as_json),
                approved=approved,
                droplets=tuple(context.stack.droplets),
                dry_run=dry_run,
                command=lambda verb, name: _command(context, verb, name),
            )
    finally:
        stage.close()


def place_of(context: Context, session: Session, reporter: Reporter) -> Place:
    """A connected droplet as a playbook's steps see it."""

    def make_call(run_id: str, again: str, dry_run: bool) -> Call:
        call = call_of(context, session, reporter, dry_run=dry_run, ahead=False, run_id=run_id)
        return replace(call, entry=replace(call.entry, command=again, name="playbook"), resumable=False)

    def rescue(run_id: str, again: str, dry_run: bool) -> Means:
        @contextmanager
        def connect(patience: float) -> Iterator[Link]:
            with context.session(session.droplet, patience=patience) as own:
                call = call_of(context, own, reporter, ahead=False, run_id=run_id)
                entry = replace(call.entry, command=again, name="playbook")
                yield Link(replace(call, entry=entry, resumable=False), own.reads, own.why)

        return Means(
            droplet=session.droplet,
            stack=session.stack,
            connect=connect,
            knock=session.knock,
            listen=session.listen,
            cloud=lambda: session.cloud,
            ask=lambda _: True,  # the playbook has asked already, where it wants to
            entry=make_call(run_id, again, dry_run).entry,
            reporter=reporter,
            cancel=session.cancel,
            state_dir=STATE_DIR,
        )

    return Place(
        droplet=session.droplet,
        stack=session.stack,
        host=session.host,
        reads=session.reads,
        engine=session.engine,
        memory=session.memory,
        why=session.why,
        deployer=session.deployer,
        evidence=session.evidence,
        gauges=session.gauges,
        knock=session.knock,
        reveal=lambda name: _reveal(context, name),
        cloud=lambda: session.cloud,
        cancel=session.cancel,
        make_call=make_call,
        rescue=rescue,
        patiently=lambda attempt: patiently(context, session, reporter, attempt),
        command=lambda words, cancel: run_opsctl(context, words, cancel),
    )


def run_opsctl(context: Context, words: Sequence[str], cancel: Cancel) -> tuple[ExitCode, Mapping[str, Any]]:
    """Run a command of opsctl to its end, on the same stack file; its exit code and its document.

    Raises Interrupted when the token is done: the command has been asked to stop then, and has stopped.
    """
    where = ["--stack", context.stack.path] if context.stack.path else []
    argv = [sys.executable, "-m", "opsctl", *words, *where, "--json"]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, text=True, **pipes) as process:
        asked_to_stop = False
        while True:
            try:
                out, _ = process.communicate(timeout=_STOPS if asked_to_stop else 0.2)
                break
            except subprocess.TimeoutExpired:
                if asked_to_stop:
                    process.kill()
                elif cancel.done:
                    process.terminate()
                    asked_to_stop = True
    cancel.check(f"opsctl {' '.join(words[:2])}")
    try:
        document: Mapping[str, Any] = json.loads(out)
    except ValueError:
        document = {}
    known = {int(code) for code in ExitCode}
    return ExitCode(process.returncode) if process.returncode in known else ExitCode.FAILED, document


def _ask(context: Context, stage: Stage, text: str, *, as_json: bool) -> bool | None:
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    with stage.cleared(), asked(context.process):
        try:
            return typer.confirm(text, default=False, err=True)
        except typer.Abort:
            return False


def _reveal(context: Context, name: str) -> Secret:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(
            f"${name} is not set", why="the playbook reads a secret from it", next=f"read -rs {name} && export {name}"
        )
    context.redact.learn(value)
    return Secret(value)


def _command(context: Context, verb: str, run: str) -> str:
    words = ["opsctl", "playbook", verb, run]
    argv = context.process.argv
    for number, word in enumerate(argv):
        if word == "--stack" and number + 1 < len(argv):
            words += [word, argv[number + 1]]
        elif word.startswith("--stack="):
            words.append(word)
    if len(context.stack.droplets) > 1:
        words += ["-d", context.one().name]
    return context.redact(shlex.join(words))
