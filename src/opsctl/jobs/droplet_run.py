"""Carries out what is done through the provider: audited here, under the droplet's lease where that can be had."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

from opsctl.jobs.call import STATE_DIR
from opsctl.jobs.droplet_actions import CUTS, CloudHandlers
from opsctl.jobs.droplet_back import Back, Return
from opsctl.jobs.droplet_plan import Proposal
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud, CloudDroplet
from opsctl.model.droplet import CloudChanged
from opsctl.model.errors import (
    DeadlineExceeded,
    ErrorInfo,
    ExitCode,
    Interrupted,
    LeaseHeld,
    OpsError,
    StepFailed,
    UnreachableError,
)
from opsctl.model.events import Note, Outcome
from opsctl.model.plan import Plan
from opsctl.model.ports import Host, Reporter, Script
from opsctl.model.result import DropletResult
from opsctl.model.run import RunResult
from opsctl.model.stack import Droplet
from opsctl.spine import local_audit
from opsctl.spine.audit import Entry
from opsctl.spine.batch import Handler
from opsctl.spine.executor import Executor
from opsctl.spine.journal import LocalCopy
from opsctl.spine.lease import Lease, hold
from opsctl.spine.means import Means
from opsctl.spine.reporters import Recorder, Tee

_REACH = 5.0  # s; a droplet that does not answer by then is treated as one that hangs
_LEASE = 20.0  # s
_LOOK = 8.0  # s; to see how the droplet was left
_SIGNALS = {ExitCode.INTERRUPTED: 2, ExitCode.TERMINATED: 15, ExitCode.HANGUP: 1}


@dataclass(frozen=True)
class CloudCall:
    """One call about one droplet through its provider, and in whose name."""

    cloud: Cloud
    host: Host
    again: Callable[[], AbstractContextManager[Host]]  # a new connection, after the power was away
    droplet: Droplet
    entry: Entry
    reporter: Reporter
    cancel: Cancel
    redact: Callable[[str], str] = str
    state_dir: str = STATE_DIR

    def note(self, text: str) -> None:
        """Say something that is worth a warning."""
        self.reporter.emit(Note(self.droplet.name, text, "warning"))


def proposed(proposal: Proposal) -> CloudChanged:
    """What a dry run shows."""
    return CloudChanged(True, proposal.plan.to_json(), proposal.notes, proposal.costs, None, None)


def carry_out(call: CloudCall, proposal: Proposal) -> DropletResult[CloudChanged]:
    """Do it. Failures of steps are in the result. Raises LeaseHeld, StepFailed (no audit), Interrupted."""
    if not proposal.changes:
        changed = CloudChanged(False, proposal.plan.to_json(), proposal.notes, proposal.costs, None, proposal.droplet)
        return DropletResult(call.droplet.name, changed)
    steps = CloudHandlers(call.cloud)
    back = Return(call.again, call.entry, call.state_dir)
    # One without power has no lease to take, and nobody works on it.
    power = proposal.power and proposal.droplet.status != "off"
    run = carry_out_plan(call, proposal.plan, {**steps.handlers(), Back.kind: back.handler()}, back, power)
    left = _left(call, proposal.droplet.id)
    changed = CloudChanged(
        False, proposal.plan.to_json(), (*proposal.notes, *_undone(run, left)), proposal.costs, run, left
    )
    return DropletResult(call.droplet.name, changed, error_of(call, run), run.exit_code)


def carry_out_plan(
    call: CloudCall, plan: Plan, handlers: Mapping[str, Handler], back: Return, power: bool
) -> RunResult:
    """Run a plan: with an audit here; `power`: under the droplet's lease, unless it does not answer."""
    reporter = Tee((call.reporter, Recorder(LocalCopy(call.entry.run_id, call.droplet.name), call.redact)))
    # Without the right to it nothing is begun, and so nothing is written down either.
    with _leased(call, plan, back, wanted=power) as lease, _audited(call, plan) as ended:
        means = Means(
            droplet=call.droplet.name,
            shell=call.host,
            handlers=handlers,
            reporter=reporter,
            check=lambda _: Script(":"),
        )
        # What was switched off for a step that failed is switched on again.
        run = Executor(plan, means, run_id=call.entry.run_id, on_failure="rollback", cancel=call.cancel).run()
        detail = call.redact(run.error.what) if run.error else ""
        if any(step.kind in CUTS and step.outcome is Outcome.CHANGED for step in run.steps):
            call.host.close()  # its other end has no power any more: what is said into it is only waited for
        if lease is not None:
            lease.exit_code, lease.detail = run.exit_code, detail
        ended(run.exit_code, detail)
    return run


@contextmanager
def _audited(call: CloudCall, plan: Plan) -> Iterator[Callable[[ExitCode, str], None]]:
    """The audit of this machine: the droplet may have no power to write its own."""
    began = time.monotonic()
    local_audit.begin(replace(call.entry, plan_id=plan.id), call.droplet.name)
    verdict = (ExitCode.BUG, "")

    def ended(code: ExitCode, detail: str) -> None:
        nonlocal verdict
        verdict = (code, detail)

    try:
        yield ended
    except OpsError as error:
        verdict = (error.exit_code, call.redact(error.info.what))
        raise
    except BaseException as error:
        verdict = (ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.BUG, type(error).__name__)
        raise
    finally:
        code, detail = verdict
        outcome = "interrupted" if code in _SIGNALS else "failed" if code else "done"
        with suppress(StepFailed):  # what was done is done
            local_audit.end(
                call.entry.run_id,
                call.droplet.name,
                outcome=outcome,
                exit_code=int(code),
                seconds=time.monotonic() - began,
                detail=detail,
            )


@contextmanager
def _leased(call: CloudCall, plan: Plan, back: Return, *, wanted: bool) -> Iterator[Lease | None]:
    """The droplet's lease, so that nobody's run is cut; None where it does not answer. Raises LeaseHeld."""
    with ExitStack() as stack:
        lease = None
        if wanted:
            try:
                back.boot = call.host.privilege(cancel=call.cancel.child(_REACH)).boot_id
                entry = replace(call.entry, plan_id=plan.id)
                bound = call.cancel.child(_LEASE)
                held = hold(call.host, entry, scope="stack", state_dir=call.state_dir, cancel=bound)
                lease = stack.enter_context(held)
                back.leased = True
            except LeaseHeld:
                raise
            except (UnreachableError, DeadlineExceeded, StepFailed) as error:
                call.cancel.check("the droplet's lease")
                reason = f"{error.info.what}{': ' if error.info.why else ''}{error.info.why}"
                call.note(f"going on without the lease of {call.droplet.name}: {call.redact(reason)}")
        yield lease


def _left(call: CloudCall, number: int) -> CloudDroplet | None:
    with suppress(OpsError):
        return call.cloud.droplet(number, cancel=Cancel(_LOOK))
    return None


def _undone(run: RunResult, left: CloudDroplet | None) -> tuple[str, ...]:
    """What a person must know about a droplet that a run left behind unfinished."""
    if run.exit_code is ExitCode.DONE:
        return ()
    if left is None:
        return ("how the droplet was left is not known: opsctl droplet show",)
    busy = "; something is still under way on it" if left.locked else ""
    return (f"the droplet is {left.status}, {left.size}{busy}",)


def error_of(call: CloudCall, run: RunResult) -> ErrorInfo | None:
    """What a run's result says where it did not succeed, with the command that goes on."""
    if run.exit_code is ExitCode.DONE:
        return None
    if run.error is None:
        cut = Interrupted(signum=run.interrupted or 2, why="what the provider has begun goes on there")
        return replace(cut.info, next=call.entry.command)
    command = call.entry.command
    info = run.error
    return info if command in info.next else replace(info, next="\n".join(filter(None, (info.next, command))))
