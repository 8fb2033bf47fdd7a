"""In which order the steps of a deploy come. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from opsctl.jobs.boot import SetBoot, boot_step, weave
from opsctl.jobs.deploy_actions import Recreate
from opsctl.jobs.startup_actions import Create
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Step
from opsctl.model.stack import Droplet, Stack


def proved_last(steps: Sequence[Step], optional: Callable[[Step], bool]) -> list[Step]:
    """What stays as it is, is asked after what changes in its phase or before: that may have broken it."""
    by_id = {each.id: each for each in steps}
    changed = [each for each in steps if each.action.kind == "gate" and each.needs and not optional(each)]
    found = []
    for step in steps:
        if step.action.kind == "gate" and not step.needs:
            before = [e.id for e in changed if e.phase <= step.phase and step.id not in _needed_by(e, by_id)]
            step = replace(step, needs=tuple(before))
        found.append(step)
    return in_order(found)


def _needed_by(step: Step, by_id: Mapping[str, Step]) -> set[str]:
    found, todo = set[str](), list(step.needs)
    while todo:
        name = todo.pop()
        if name not in found and name in by_id:
            found.add(name)
            todo += by_id[name].needs
    return found


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Each after what it needs, else as they come."""
    left, ordered, names = list(steps), list[Step](), {each.id for each in steps}
    while left:
        placed = {each.id for each in ordered}
        free = [each for each in left if not (set(each.needs) & names) - placed]
        ordered.append((free or left)[0])
        left.remove(ordered[-1])
    return ordered


def for_a_boot(
    steps: Sequence[Step], facts: DropletFacts, stack: Stack, droplet: Droplet, up: Sequence[str]
) -> list[Step]:
    """A container that is made anew has the compose file's restart policy: what waits for a gate gets its own."""
    creates = {name: step.id for step in steps if isinstance(step.action, Create) for name in step.action.missing}
    creates |= {step.service: step.id for step in steps if isinstance(step.action, Recreate)}
    step = boot_step(facts, stack, droplet, start=up, fresh=tuple(creates))
    if step is None:
        return list(steps)
    starts = {each.service: each.id for each in steps if each.action.kind == "start"}
    woven = weave(steps, step, creates, starts)
    made = tuple(each.id for each in woven if each.action.kind == SetBoot.kind)
    return [replace(each, needs=(*each.needs, *made)) if each.id == "finish" else each for each in woven]
