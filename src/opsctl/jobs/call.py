"""One call of a changing job on one droplet, and how its plan is carried out: lease, journal, audit, executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import UsageError
from opsctl.model.operate import DropletFacts, Operator
from opsctl.model.plan import Plan
from opsctl.model.ports import Host, Reporter
from opsctl.model.run import OnFailure, RunResult
from opsctl.model.stack import Droplet, Stack
from opsctl.spine.audit import Entry
from opsctl.spine.batch import Handler
from opsctl.spine.executor import Executor
from opsctl.spine.journal import LocalCopy
from opsctl.spine.lease import hold
from opsctl.spine.means import Means
from opsctl.spine.reporters import Recorder, Tee

STATE_DIR = "/var/lib/opsctl"

RunOpsctl = Callable[[tuple[str, ...], Cancel], int]


def no_opsctl(words: tuple[str, ...], cancel: Cancel) -> int:
    """Where nothing can run opsctl's own commands."""
    raise UsageError(f"`opsctl {' '.join(words)}` cannot be run from here")


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


def carry_out(call: Call, plan: Plan, handlers: Mapping[str, Handler], *, changes: bool) -> RunResult:
    """Run a plan: under the droplet's lease, with journal and audit, where it changes anything; else only wait.

    Failures of steps are in the result. Raises LeaseHeld, StepFailed (no journal, no audit), UnreachableError.
    """
    reporter = call.reporter
    if changes:
        reporter = Tee((reporter, Recorder(LocalCopy(call.entry.run_id, call.droplet.name))))
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
            lease.exit_code, lease.detail = run.exit_code, run.error.what if run.error else ""
    return run


def _lease(call: Call, plan: Plan, *, changes: bool) -> Any:
    if not changes:
        return nullcontext()
    entry = replace(call.entry, plan_id=plan.id)
    return hold(call.host, entry, scope="stack", state_dir=call.state_dir, cancel=call.cancel)
