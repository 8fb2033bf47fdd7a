"""One line a service from the steps of a run. Pure."""

from __future__ import annotations

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
    return tuple(_service(name, phases[name], run.of(name)) for name in names)


def _service(name: str, phase: int, steps: tuple[StepResult, ...]) -> ServiceReport:
    seconds = round(sum(step.seconds for step in steps if step.kind != "memory"), 3)
    for outcome in (Outcome.FAILED, Outcome.SKIPPED):
        bad = [step for step in steps if step.outcome is outcome]
        if bad:
            begun = outcome is Outcome.SKIPPED and any(step.kind == "start" and step not in bad for step in steps)
            detail = f"started, not waited for: {bad[0].detail}" if begun else bad[0].detail
            return ServiceReport(name, phase, outcome, seconds, detail)
    changed = any(step.outcome is Outcome.CHANGED for step in steps)
    gates = [step.detail for step in steps if step.kind in ("gate", "keep") and step.detail]
    detail = gates[-1] if gates else steps[-1].detail
    return ServiceReport(name, phase, Outcome.CHANGED if changed else Outcome.UNCHANGED, seconds, detail)
