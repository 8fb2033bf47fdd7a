"""One step of a playbook: what must hold, is it done already, do it, prove it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from opsctl.jobs.playbook_checks import Checks
from opsctl.jobs.playbook_keeper import Keeper
from opsctl.jobs.playbook_place import Answer, Done, Jobs, Order, Place
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ErrorInfo, ExitCode, GateFailed, Interrupted, OpsError, StepFailed
from opsctl.model.events import Outcome, StepEnded, StepStarted, StepWaiting
from opsctl.model.playbook import Invocation, Late, Playbook, PlayStep, Undo
from opsctl.model.playbook_run import Past, Status, StepReport, does
from opsctl.model.ports import Reporter

Places = Callable[[str], Place]
"""The droplet of that name ("" is the one the playbook is run on), connected at first use."""


@dataclass(frozen=True)
class Desk:
    """What one run of a playbook works with."""

    playbook: Playbook
    run: str
    places: Places
    jobs: Jobs
    checks: Checks
    keeper: Keeper
    past: Past
    reporter: Reporter
    cancel: Cancel
    again: str  # the command that goes on
    back: str  # the command that takes the run back
    codes: dict[str, ExitCode] = field(default_factory=dict)  # of the steps that failed

    def report(self, step: PlayStep, status: Status, detail: str = "", **more: object) -> StepReport:
        """A step's report."""
        name = self.places(step.droplet).droplet.name
        made = StepReport(step.id, step.title, name, does(step), status, detail)
        return replace(made, **more)  # type: ignore[arg-type]

    def tell(self, step: PlayStep, state: str) -> None:
        """The last state seen while a step waits."""
        name = self.places(step.droplet).droplet.name
        self.reporter.emit(StepWaiting(name, f"playbook:{step.id}", state, step.id))


def begin(desk: Desk, step: PlayStep) -> None:
    """Say that a step begins."""
    name = desk.places(step.droplet).droplet.name
    desk.reporter.emit(StepStarted(name, f"playbook:{step.id}", step.title, step.id))


def ended(desk: Desk, report: StepReport) -> StepReport:
    """Say that a step is over."""
    outcomes: Mapping[Status, Outcome] = {
        "changed": Outcome.CHANGED,
        "approved": Outcome.CHANGED,
        "unchanged": Outcome.UNCHANGED,
        "failed": Outcome.FAILED,
    }
    outcome = outcomes.get(report.status, Outcome.SKIPPED)
    detail = f"{report.title}: {report.detail}" if report.detail else report.title
    desk.reporter.emit(
        StepEnded(report.droplet, f"playbook:{report.id}", outcome, report.seconds, detail, service=report.id)
    )
    return report


def perform(desk: Desk, step: PlayStep) -> StepReport:
    """Do a step; what goes wrong is in the report. Raises only what ends the whole run."""
    began = time.monotonic()
    try:
        report = _perform(desk, step)
    except Interrupted:
        report = desk.report(step, "interrupted", "interrupted")
        _write_end(desk, step, report)
    except OpsError as error:
        report = failed(desk, step, error) if not step.may_fail else desk.report(step, "skipped", _no_help(error))
        _write_end(desk, step, report)
    return ended(desk, replace(report, seconds=time.monotonic() - began))


def failed(desk: Desk, step: PlayStep, error: OpsError) -> StepReport:
    """The report of a step that failed, with the command that goes on."""
    desk.codes[step.id] = error.exit_code
    return desk.report(step, "failed", error.info.what, error=going_on(error.info, desk.again))


def going_on(error: ErrorInfo, again: str) -> ErrorInfo:
    """The error with the command that goes on with the playbook."""
    if again in error.next:
        return error
    vague = not error.next or error.next.startswith(("run it again", "run the same command again"))
    return replace(error, next=again if vague else f"{error.next}\n{again}")


def _perform(desk: Desk, step: PlayStep) -> StepReport:
    begin(desk, step)
    place = desk.places(step.droplet)
    wrong = desk.checks.first_wrong(place, step.precondition, patient=True, tell=lambda said: desk.tell(step, said))
    if wrong is not None:
        if step.otherwise == "skip":
            report = desk.report(step, "skipped", f"not needed: {said(wrong)}")
            desk.keeper.write(event="end", step=step.id, outcome="skipped", detail=report.detail)
            return report
        raise _not_so(step, wrong, "cannot begin")
    if step.call is None:
        return _look(desk, step, place)
    if step.probe and not step.always and _holds(desk, step, place):
        desk.keeper.write(event="end", step=step.id, outcome="unchanged", probed=True)
        return desk.report(step, "unchanged", "is so already")
    return _do(desk, step, step.call, place)


def _look(desk: Desk, step: PlayStep, place: Place) -> StepReport:
    seen: list[str] = []
    for check in step.probe:
        answer = desk.checks.ask(place, check, patient=True, tell=lambda said: desk.tell(step, said))
        if not answer.holds:
            raise _not_so(step, answer, "does not hold")
        seen.append(answer.seen)
    detail = "; ".join(dict.fromkeys(seen))
    desk.keeper.write(event="end", step=step.id, outcome="unchanged", detail=detail)
    return desk.report(step, "unchanged", detail)


def _do(desk: Desk, step: PlayStep, call: Invocation, place: Place) -> StepReport:
    running = place.running() if step.undo and _is_late(step.undo) else ()
    before = desk.jobs[call.job].before
    kept = dict(before(place)) if before and step.undo else {}
    desk.keeper.write(event="begin", step=step.id, running=list(running), kept=kept)
    done = call_job(desk, call, place, f"{desk.run}-{step.id}")
    if done.interrupted:
        raise Interrupted(signum=desk.cancel.signum)
    if done.error is not None:
        raise _job_failed(done)
    wrong = desk.checks.first_wrong(place, step.probe, patient=True, tell=lambda said: desk.tell(step, said))
    if wrong is not None:
        raise _not_so(step, wrong, "was done, and does not hold")
    running = place.running() if step.undo and _is_late(step.undo) else ()
    desk.keeper.write(event="end", step=step.id, outcome=done.outcome.value, detail=done.detail, running=list(running))
    status: Status = "changed" if done.outcome is Outcome.CHANGED else "unchanged"
    return desk.report(step, status, done.detail)


def call_job(desk: Desk, call: Invocation, place: Place, run_id: str) -> Done:
    """Run a job on a droplet; one that takes the droplet away is done without the playbook's lease."""
    job = desk.jobs[call.job]
    order = Order(place, call.arguments, run_id, desk.again, dry_run=False)
    if not job.spec.away:
        done: Done = place.patiently(lambda: job.perform(order))
        return done
    desk.keeper.leave()
    try:
        done = job.perform(order)
    except BaseException:
        with suppress(OpsError):
            desk.keeper.take()
        raise
    desk.keeper.take()
    return done


def undo(desk: Desk, step: PlayStep) -> StepReport:
    """Take a step back; what goes wrong is in the report."""
    began = time.monotonic()
    begin(desk, step)
    try:
        report = _undo(desk, step)
    except Interrupted:
        report = desk.report(step, "interrupted", "interrupted")
    except OpsError as error:
        report = failed(desk, step, error)
        desk.keeper.write(event="undo-end", step=step.id, outcome="failed", detail=error.info.what)
    return ended(desk, replace(report, seconds=time.monotonic() - began))


def _undo(desk: Desk, step: PlayStep) -> StepReport:
    if step.undo is None:
        desk.keeper.write(event="undo-end", step=step.id, outcome="unchanged", detail="no undo")
        return desk.report(step, "skipped", "is left as it is: it has no undo")
    place = desk.places(step.droplet)
    call = settled(desk, step.undo.call, step, place)
    if call is None:
        desk.keeper.write(event="undo-end", step=step.id, outcome="unchanged")
        return desk.report(step, "unchanged", "nothing is left of it")
    if step.undo.probe and desk.checks.first_wrong(place, step.undo.probe, patient=False) is None:
        desk.keeper.write(event="undo-end", step=step.id, outcome="unchanged", probed=True)
        return desk.report(step, "unchanged", "is taken back already", does=str(call))
    desk.keeper.write(event="undo-begin", step=step.id)
    done = call_job(desk, call, place, f"{desk.run}-undo-{step.id}")
    if done.interrupted:
        raise Interrupted(signum=desk.cancel.signum)
    if done.error is not None:
        raise _job_failed(done)
    wrong = desk.checks.first_wrong(place, step.undo.probe, patient=True, tell=lambda said: desk.tell(step, said))
    if wrong is not None:
        raise _not_so(step, wrong, "was taken back, and does not hold")
    desk.keeper.write(event="undo-end", step=step.id, outcome=done.outcome.value, detail=done.detail)
    status: Status = "changed" if done.outcome is Outcome.CHANGED else "unchanged"
    return desk.report(step, status, done.detail, does=str(call))


def settled(
    desk: Desk, call: Invocation, step: PlayStep, place: Place, *, gone: Collection[str] = ()
) -> Invocation | None:
    """The undo's call with what is only known now; None where that leaves nothing to do.

    `gone` is what a dry run has taken back already.
    """
    late = {name: value for name, value in call.arguments.items() if isinstance(value, Late)}
    if not late:
        return call
    found = desk.past.moved(step.id, place.running(), gone=gone)
    kept = desk.past.kept.get(step.id, {})
    values: dict[str, Any] = {
        name: found[value.name] if value.name in found else kept.get(value.name, "") for name, value in late.items()
    }
    services = [values[name] for name, value in late.items() if value.name in found]
    return None if services and not any(services) else replace(call, arguments={**call.arguments, **values})


def _is_late(undo: Undo) -> bool:
    return any(isinstance(each, Late) and each.name != "release" for each in undo.call.arguments.values())


def _holds(desk: Desk, step: PlayStep, place: Place) -> bool:
    return desk.checks.first_wrong(place, step.probe, patient=False) is None


def _write_end(desk: Desk, step: PlayStep, report: StepReport) -> None:
    desk.keeper.write(event="end", step=step.id, outcome=report.status, detail=report.detail)


def _no_help(error: OpsError) -> str:
    return f"did not help: {error.info.what}"


def said(answer: Answer) -> str:
    """Why a check does not hold."""
    return answer.seen if answer.check.negated else f"{answer.seen} (wanted: {answer.check})"


def _not_so(step: PlayStep, answer: Answer, what: str) -> GateFailed:
    return GateFailed(
        f"step {step.id} {what}: {answer.check}",
        why=f"last state seen: {answer.seen}",
        code="playbook-check",
        line=answer.check.line or None,
    )


def _job_failed(done: Done) -> OpsError:
    assert done.error is not None
    info = done.error
    error = StepFailed(info.what, why=info.why, next=info.next, code=info.code, path=info.path, line=info.line)
    error.exit_code = done.exit_code
    return error
