"""One call of a changing job on one droplet, and how its plan is carried out: lease, journal, audit, executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from opsctl.jobs.resume import Unfinished, compare, resuming
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ErrorInfo, ExitCode, UsageError
from opsctl.model.events import Note
from opsctl.model.operate import DropletFacts, Operator
from opsctl.model.plan import Plan
from opsctl.model.ports import Host, Reporter
from opsctl.model.run import OnFailure, RunResult
from opsctl.model.stack import Droplet, Stack
from opsctl.spine.audit import Entry
from opsctl.spine.batch import Handler
from opsctl.spine.executor import Executor
from opsctl.spine.journal import LocalCopy, head, tail
from opsctl.spine.lease import hold
from opsctl.spine.means import Means
from opsctl.spine.reporters import Recorder, Tee

STATE_DIR = "/var/lib/opsctl"

RunOpsctl = Callable[[tuple[str, ...], Cancel], int]


def no_opsctl(words: tuple[str, ...], cancel: Cancel) -> int:
    """Where nothing can run opsctl's own commands."""
    raise UsageError(f"`opsctl {' '.join(words)}` cannot be run from here")


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class Call:
    """One call on one droplet: with what, and in whose name."""

    host: Host
    engine: Operator
    facts: Callable[[], DropletFacts]  # read once, and perhaps before anybody asks
    stack: Stack
    droplet: Droplet
    entry: Entry  # its plan id is filled in when the plan is made
    reporter: Reporter
    cancel: Cancel
    on_failure: OnFailure = "stop"
    dry_run: bool = False
    state_dir: str = STATE_DIR
    opsctl: RunOpsctl = no_opsctl
    commands: frozenset[str] = frozenset()  # what `opsctl` can run, by first word
    redact: Callable[[str], str] = _as_it_is  # for what is written down
    resumable: bool = False  # whether the command has `--resume`
    unfinished: Unfinished | None = None  # the run that this one goes on with

    @property
    def again(self) -> str:
        """The exact command that goes on with this run."""
        return resuming(self.entry.command, self.entry.run_id) if self.resumable else self.entry.command


def carry_out(call: Call, plan: Plan, handlers: Mapping[str, Handler], *, changes: bool) -> RunResult:
    """Run a plan: under the droplet's lease, with journal and audit, where it changes anything; else only wait.

    Failures of steps are in the result, and say how to go on. Raises LeaseHeld, LeaseBroken, StepFailed (no journal,
    no audit), UnreachableError.
    """
    reporter = call.reporter
    if call.unfinished:
        for line in compare(call.unfinished, plan.to_json()["steps"]):
            reporter.emit(Note(call.droplet.name, line))
    if changes:
        reporter = Tee((reporter, Recorder(LocalCopy(call.entry.run_id, call.droplet.name), call.redact)))
    with _lease(call, plan, changes=changes) as lease:
        means = Means(
            droplet=call.droplet.name,
            shell=lease.guard if lease else call.host,
            handlers=handlers,
            reporter=reporter,
            check=call.engine.guards,
            journal=lease.journal if lease else "",
        )
        run = Executor(plan, means, run_id=call.entry.run_id, on_failure=call.on_failure, cancel=call.cancel).run()
        if lease:
            lease.exit_code, lease.detail = run.exit_code, call.redact(run.error.what) if run.error else ""
            lease.tail = tail(run, redact=call.redact)
    # "opsctl deploy   (rolling back)": what is in brackets is for the audit.
    return _going_on(run, (call.again if changes else call.entry.command).partition("   (")[0])


def _lease(call: Call, plan: Plan, *, changes: bool) -> Any:
    if not changes:
        return nullcontext()
    entry = replace(call.entry, plan_id=plan.id)
    first = head(plan, run=entry.run_id, name=entry.name, command=entry.command, redact=call.redact)
    return hold(call.host, entry, scope="stack", state_dir=call.state_dir, cancel=call.cancel, head=first)


def _going_on(run: RunResult, command: str) -> RunResult:
    """The run with, in every failure, the command that goes on with it."""
    if run.exit_code is ExitCode.DONE:
        return run
    steps = (replace(step, error=_with(step.error, command)) if step.error else step for step in run.steps)
    return replace(run, steps=tuple(steps))


def _with(error: ErrorInfo, command: str) -> ErrorInfo:
    if command in error.next:
        return error
    vague = not error.next or error.next.startswith(("run it again", "run the same command again"))
    return replace(error, next=command if vague else f"{error.next}\n{command}")
