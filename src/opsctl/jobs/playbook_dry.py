"""What a playbook would do from the state that there is now: each step by its job's own dry run."""

from __future__ import annotations

from dataclasses import replace

from opsctl.jobs.playbook_place import Order
from opsctl.jobs.playbook_run import Finished
from opsctl.jobs.playbook_step import Desk, said, settled
from opsctl.model.errors import ErrorInfo, ExitCode, Interrupted, OpsError, worst
from opsctl.model.events import Outcome
from opsctl.model.playbook import Late, PlayStep
from opsctl.model.playbook_run import Mode, PlaybookReport, StepReport


def simulate(desk: Desk, mode: Mode) -> Finished:
    """Go through the steps; nothing is changed. What an earlier step may still change is said with each."""
    found: dict[str, StepReport] = {}
    codes: list[ExitCode] = []
    for step in desk.playbook.steps:
        desk.cancel.check("the dry run")
        before = desk.playbook.before(step)
        after = tuple(n for n in found if n in before and found[n].status in ("would change", "unknown"))
        found[step.id] = report = replace(_step(desk, step, after), after=after)
        if report.status == "failed":
            codes.append(desk.codes[step.id])
    return _finished(desk, mode, tuple(found.values()), codes)


def simulate_rollback(desk: Desk) -> Finished:
    """What a rollback would take back, by each undo's own dry run."""
    reports: list[StepReport] = []
    codes: list[ExitCode] = []
    gone: set[str] = set()
    for name in desk.past.candidates:
        step = desk.playbook.step(name)
        report = _undo(desk, step, gone)
        after = tuple(each.id for each in reports if each.status in ("would change", "unknown"))
        reports.append(replace(report, after=after))
        if report.status == "failed":
            codes.append(desk.codes[name])
    return _finished(desk, "rollback", tuple(reports), codes)


def _step(desk: Desk, step: PlayStep, after: tuple[str, ...]) -> StepReport:
    ended = desk.past.ended.get(step.id, "")
    if ended in ("changed", "unchanged", "approved", "skipped"):
        return desk.report(step, "skipped" if ended == "skipped" else "unchanged", "was done before")
    try:
        return _look(desk, step, after)
    except Interrupted:
        raise
    except OpsError as error:
        if after:
            return desk.report(step, "unknown", f"cannot be told before {', '.join(after)}: {error.info.what}")
        return _failed(desk, step, error)


def _look(desk: Desk, step: PlayStep, after: tuple[str, ...]) -> StepReport:
    place = desk.places(step.droplet)
    wrong = desk.checks.first_wrong(place, step.precondition, patient=False)
    if wrong is not None:
        told = said(wrong)
        if after:
            return desk.report(step, "unknown", f"does not hold yet, {', '.join(after)} may make it so: {told}")
        if step.otherwise == "skip":
            return desk.report(step, "skipped", f"not needed: {told}")
        desk.codes[step.id] = ExitCode.GATE
        error = ErrorInfo("playbook-check", f"step {step.id} cannot begin: {wrong.check}", wrong.seen, "opsctl status")
        return desk.report(step, "failed", told, error=error)
    if step.approve:
        return desk.report(step, "would ask", step.approve)
    wrong = desk.checks.first_wrong(place, step.probe, patient=False)
    if step.call is None:
        if wrong is None:
            return desk.report(step, "unchanged", "holds")
        text = f"{wrong.check}: {wrong.seen}"
        if after:
            return desk.report(step, "unknown", f"does not hold yet, {', '.join(after)} may make it so: {text}")
        desk.codes[step.id] = ExitCode.GATE
        error = ErrorInfo("playbook-check", f"step {step.id} does not hold: {wrong.check}", wrong.seen, "opsctl status")
        return desk.report(step, "failed", text, error=error)
    if step.probe and not step.always and wrong is None:
        return desk.report(step, "unchanged", "is so already")
    order = Order(place, step.call.arguments, f"{desk.run}-{step.id}", desk.again, dry_run=True)
    done = desk.jobs[step.call.job].perform(order)
    if done.error is not None:
        if after:
            return desk.report(step, "unknown", f"cannot be told before {', '.join(after)}: {done.error.what}")
        desk.codes[step.id] = done.exit_code
        return desk.report(step, "failed", done.error.what, error=done.error)
    status = "would change" if done.outcome is Outcome.CHANGED else "unchanged"
    return desk.report(step, status, done.detail, plan=done.plan)  # type: ignore[arg-type]


def _undo(desk: Desk, step: PlayStep, gone: set[str]) -> StepReport:
    if step.undo is None:
        return desk.report(step, "skipped", "would be left as it is: it has no undo")
    try:
        place = desk.places(step.droplet)
        call = settled(desk, step.undo.call, step, place, gone=gone)
        if call is None:
            return desk.report(step, "unchanged", "nothing is left of it")
        if step.undo.probe and desk.checks.first_wrong(place, step.undo.probe, patient=False) is None:
            return desk.report(step, "unchanged", "is taken back already", does=str(call))
        done = desk.jobs[call.job].perform(Order(place, call.arguments, f"{desk.run}-undo", desk.again, dry_run=True))
        for name, value in step.undo.call.arguments.items():
            gone.update(call.arguments[name] if isinstance(value, Late) else ())
    except Interrupted:
        raise
    except OpsError as error:
        return _failed(desk, step, error)
    status = "would change" if done.outcome is Outcome.CHANGED else "unchanged"
    return desk.report(step, status, done.detail, plan=done.plan, does=str(call))  # type: ignore[arg-type]


def _failed(desk: Desk, step: PlayStep, error: OpsError) -> StepReport:
    desk.codes[step.id] = error.exit_code
    return desk.report(step, "failed", error.info.what, error=error.info)


def _finished(desk: Desk, mode: Mode, steps: tuple[StepReport, ...], codes: list[ExitCode]) -> Finished:
    book = desk.playbook
    bad = next((each for each in steps if each.status == "failed"), None)
    report = PlaybookReport(
        book.name, book.title, desk.run, mode, True, "failed" if bad else "done", steps, ("nothing was changed",)
    )
    return Finished(report, bad.error if bad else None, worst(codes) if codes else ExitCode.DONE)
