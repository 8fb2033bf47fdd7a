"""One line a service from the steps of a run. Pure."""

from __future__ import annotations

from dataclasses import replace

from opsctl.model.events import Outcome
from opsctl.model.plan import Plan
from opsctl.model.run import RunResult, ServiceReport, StepResult


def report(plan: Plan, run: RunResult | None) -> tuple[ServiceReport, ...]:
    """The services of a plan in its order, each with its worst step."""
    names = dict.fromkeys(step.service for step in plan.steps if step.service)
    phases = {step.service: step.phase for step in plan.steps}
    if run is None:
        titles = {name: "; ".join(s.title for s in plan.steps if s.service == name) for name in names}
        return tuple(ServiceReport(name, phases[name], None, 0.0, titles[name]) for name in names)
    return tuple(_service(name, phases[name], run.of(name), run.undone) for name in names)


def _service(name: str, phase: int, steps: tuple[StepResult, ...], undone: tuple[str, ...]) -> ServiceReport:
    seconds = round(sum(step.seconds for step in steps if step.kind != "memory"), 3)
    for outcome in (Outcome.FAILED, Outcome.SKIPPED):
        bad = [step for step in steps if step.outcome is outcome]
        if bad:
            return _bad(ServiceReport(name, phase, outcome, seconds, bad[0].detail), bad[0], steps, undone)
    changed = any(step.outcome is Outcome.CHANGED for step in steps)
    gates = [step.detail for step in steps if step.kind in ("gate", "keep") and step.detail]
    detail = gates[-1] if gates else steps[-1].detail
    return ServiceReport(name, phase, Outcome.CHANGED if changed else Outcome.UNCHANGED, seconds, detail)


def _bad(
    plain: ServiceReport, bad: StepResult, steps: tuple[StepResult, ...], undone: tuple[str, ...]
) -> ServiceReport:
    """What is up stays up: a service that was started counts as changed, even if the rest was cut short."""
    if bad.outcome is Outcome.FAILED:
        return plain
    began = [step for step in steps if step.kind == "start" and step.outcome is Outcome.CHANGED]
    if not began or began[0].id in undone:
        return plain
    left = "its gate was not awaited" if bad.kind == "gate" else f"{bad.title} was not done"
    return replace(plain, outcome=Outcome.CHANGED, detail=f"started, {left}: {bad.detail}")
