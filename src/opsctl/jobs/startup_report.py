"""One line a service from the steps of a run. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from opsctl.model.events import Outcome
from opsctl.model.plan import Plan
from opsctl.model.run import RunResult, ServiceReport, StepResult
from opsctl.spine.executor import INTERRUPTED


def report(plan: Plan, run: RunResult | None, *, up: Collection[str] = ()) -> tuple[ServiceReport, ...]:
    """The services of a plan in its order, each with its worst step.

    `up`: the services that came up though their start was cut short.
    """
    names = dict.fromkeys(step.service for step in plan.steps if step.service)
    phases = {step.service: step.phase for step in plan.steps}
    if run is None:
        titles = {name: "; ".join(s.title for s in plan.steps if s.service == name) for name in names}
        return tuple(ServiceReport(name, phases[name], None, 0.0, titles[name]) for name in names)
    return tuple(_service(name, phases[name], run, name in up) for name in names)


def cut_short(run: RunResult) -> tuple[str, ...]:
    """The services whose start was interrupted: the engine may have finished what it was asked for."""
    starts = [step for step in run.steps if step.kind == "start" and step.outcome is Outcome.SKIPPED]
    return tuple(step.service for step in starts if step.detail == INTERRUPTED)


def _service(name: str, phase: int, run: RunResult, up: bool) -> ServiceReport:
    steps = run.of(name)
    seconds = round(sum(step.seconds for step in steps if step.kind != "memory"), 3)
    for outcome in (Outcome.FAILED, Outcome.SKIPPED):
        bad = [step for step in steps if step.outcome is outcome]
        if bad:
            return _bad(ServiceReport(name, phase, outcome, seconds, bad[0].detail), bad[0], run, up)
    changed = any(step.outcome is Outcome.CHANGED for step in steps)
    gates = [step.detail for step in steps if step.kind in ("gate", "keep") and step.detail]
    detail = gates[-1] if gates else steps[-1].detail
    return ServiceReport(name, phase, Outcome.CHANGED if changed else Outcome.UNCHANGED, seconds, detail)


def _bad(plain: ServiceReport, bad: StepResult, run: RunResult, up: bool) -> ServiceReport:
    """What is up stays up: a service that was started counts as changed, even if the rest was cut short."""
    if bad.outcome is Outcome.FAILED:
        return plain
    if bad.kind == "start" and bad.detail == INTERRUPTED:
        words = "started, its gate was not awaited" if up else "its start was cut short, it may come up yet"
        return replace(plain, outcome=Outcome.CHANGED if up else bad.outcome, detail=f"{words}: {INTERRUPTED}")
    began = [step.id for step in run.of(plain.service) if step.kind == "start" and step.outcome is Outcome.CHANGED]
    if not began or began[0] in run.undone:
        return plain
    left = "its gate was not awaited" if bad.kind == "gate" else f"{bad.title} was not done"
    return replace(plain, outcome=Outcome.CHANGED, detail=f"started, {left}: {bad.detail.removeprefix('not tried: ')}")
