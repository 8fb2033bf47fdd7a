"""Stop services, the last phase first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opsctl.jobs.boot import boot_step
from opsctl.jobs.call import Call
from opsctl.jobs.startup import execute, merged
from opsctl.jobs.startup_actions import Keep, Stop
from opsctl.jobs.startup_plan import Planned
from opsctl.jobs.startup_select import known, phase_of
from opsctl.model.engine import Container, StackFacts
from opsctl.model.plan import GuardFact, Plan, Step
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed
from opsctl.model.stack import Service, Stack

_RUNNING = ("running", "restarting", "paused")


def stop(call: Call, names: Sequence[str], *, grace: float | None = None) -> DropletResult[Changed]:
    """Stop the named services, or all of the stack's; `grace` in seconds, None for the container's own."""
    facts = call.facts()
    stack = merged(call, facts)
    planned = plan_stop(facts, stack, names, grace=grace)
    gone = names or tuple(stack.services)
    if step := boot_step(facts, stack, call.droplet, stop=gone):
        planned = replace(planned, plan=Plan("stop", (step, *planned.plan.steps)))
    return execute(call, planned, facts, stack)


def plan_stop(facts: StackFacts, stack: Stack, names: Sequence[str], *, grace: float | None = None) -> Planned:
    """The steps that stop services: what depends on another goes before it. Pure. Raises UsageError."""
    known(stack, names)
    chosen = [stack.services[name] for name in dict.fromkeys(names)] or list(stack.services.values())
    ordered = sorted(chosen, key=phase_of, reverse=True)
    steps = [_step(service, facts, ordered, grace) for service in ordered if facts.of(service.name) or names]
    return Planned(Plan("stop", tuple(_sorted(steps))), _notes(facts, {service.name for service in chosen}))


def _step(service: Service, facts: StackFacts, ordered: Sequence[Service], grace: float | None) -> Step:
    container = facts.of(service.name)
    if container is None or container.status not in _RUNNING:
        state = f"not running ({container.status})" if container else "not created"
        keep = Keep(service.name, state)
        return Step(f"keep:{service.name}", f"{service.name} is {state}", keep, service.name, phase_of(service))
    return Step(
        id=f"stop:{service.name}",
        title=f"stop {service.name}",
        action=Stop(service.name, container.id, grace, after=tuple(_before(service, facts, ordered))),
        service=service.name,
        phase=phase_of(service),
        guards=(GuardFact("container-id", service.name, container.id),),
    )


def _before(service: Service, facts: StackFacts, ordered: Sequence[Service]) -> list[str]:
    """The stops of later phases, and of what depends on this one."""
    names = []
    for other in ordered:
        depends = facts.compose[other.name].depends_on if other.name in facts.compose else {}
        later = phase_of(other) > phase_of(service) or service.name in depends
        if other is not service and later and _running(facts.of(other.name)):
            names.append(f"stop:{other.name}")
    return names


def _running(container: Container | None) -> bool:
    return container is not None and container.status in _RUNNING


def _sorted(steps: Sequence[Step]) -> list[Step]:
    """In an order that respects `after`."""
    left, ordered = list(steps), list[Step]()
    while left:
        placed = {step.id for step in ordered}
        free = [step for step in left if set(getattr(step.action, "after", ())) <= placed]
        ordered.append((free or left)[0])
        left.remove(ordered[-1])
    return ordered


def _notes(facts: StackFacts, chosen: set[str]) -> tuple[str, ...]:
    notes = []
    for name, service in facts.compose.items():
        missed = sorted(set(service.depends_on) & chosen)
        if name not in chosen and missed and _running(facts.of(name)):
            notes.append(f"{name} depends on {', '.join(missed)} and goes on running")
    return tuple(notes)
