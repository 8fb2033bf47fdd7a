"""The steps of a move: a deploy's own, with copying and proof before anything is put. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opsctl.jobs.deploy_actions import Begin
from opsctl.jobs.deploy_order import in_order
from opsctl.jobs.startup_actions import Stop
from opsctl.jobs.volumes_actions import CopyVolume, MarkVolume, ProveVolume, StartAgain
from opsctl.jobs.volumes_find import Found, Wish
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import GuardFact, Plan, Step
from opsctl.model.stack import Stack
from opsctl.model.units import show_size
from opsctl.model.volumes import Phase, VolumeFacts

COMMAND = "migrate volumes-to-host"
_BEFORE = ("room", "adopt", "begin", "tidy")  # of a deploy's steps those that change neither files nor containers
_LIVE = ("running", "restarting", "paused")


@dataclass(frozen=True)
class Moving:
    """Everything that a plan is made from."""

    wish: Wish
    facts: VolumeFacts
    found: Found
    droplet: DropletFacts
    stack: Stack

    @property
    def needed(self) -> bool:
        """Whether data has to be copied."""
        return self.found.place != self.wish.towards

    @property
    def phase(self) -> Phase:
        """What is remembered in the end."""
        return "returned" if self.wish.back else "moved"

    @property
    def ends(self) -> tuple[str, str]:
        """From where to where, as paths."""
        pair = (self.facts.volume.path, self.facts.host.path)
        return (pair[1], pair[0]) if self.wish.back else pair


def plan_copy(moving: Moving) -> Plan:
    """The first pass alone: nothing is stopped."""
    return Plan(COMMAND, (_copy(moving),) if moving.needed else ())


def plan_move(moving: Moving, deployed: Sequence[Step]) -> Plan:
    """The whole move around the steps of a deploy that puts the file and recreates the services."""
    if moving.needed:
        steps = _woven(moving, deployed, [_copy(moving)], [*_stops(moving), _prove(moving)])
    else:
        doing = any(step.action.kind not in ("keep", "gate", "adopt") for step in deployed)
        steps = _woven(moving, deployed, [], []) if doing else []
    record = moving.facts.record
    if not steps and record is not None and record.phase != moving.phase:
        steps = [_mark(moving, ())]
    return Plan(COMMAND, tuple(steps))


def _copy(moving: Moving) -> Step:
    source, target = moving.ends
    wish, record = moving.wish, moving.facts.record
    place = moving.facts.volume if wish.back else moving.facts.host
    # A side that was left must be as it was left, or somebody else has written there since.
    left = record.checksum if record is not None and record.rests and not place.empty else ""
    size = (moving.facts.host if wish.back else moving.facts.volume).size
    title = f"copy {show_size(size)} from {source} to {target}"
    if moving.found.running:
        title += ", while it is in use"
    folder = "" if place.empty else place.identity
    action = CopyVolume(wish.name, source, target, wish.towards, wish.path, folder, left, size)
    return Step("volume-copy", title, action)


def _stops(moving: Moving) -> list[Step]:
    steps = []
    for name in moving.found.users:
        container = moving.droplet.of(name)
        if container is not None and container.id in moving.found.running:
            guards = (GuardFact("container-id", name, container.id),)
            phase = moving.stack.services[name].phase or 0 if name in moving.stack.services else 0
            stop, again = Stop(name, container.id), StartAgain(name, container.id)
            steps.append(
                Step(f"stop:{name}", f"stop {name}: nobody writes now", stop, name, phase, (), guards, undo=again)
            )
    return steps


def _prove(moving: Moving) -> Step:
    source, target = moving.ends
    wish = moving.wish
    size = (moving.facts.host if wish.back else moving.facts.volume).size
    place = moving.facts.volume if wish.back else moving.facts.host
    folder = place.identity or "ours"  # the pass before has made it
    action = ProveVolume(wish.name, source, target, wish.towards, wish.path, folder, size, moving.found.running)
    return Step("volume-prove", "copy what has changed since, and prove both sides equal", action)


def _mark(moving: Moving, needs: tuple[str, ...]) -> Step:
    wish = moving.wish
    where = wish.name if wish.back else wish.path
    action = MarkVolume(wish.name, wish.path, moving.phase)
    return Step("volume-mark", f"write down that the data is in {where}", action, needs=needs)


def _woven(moving: Moving, deployed: Sequence[Step], first: list[Step], held: list[Step]) -> list[Step]:
    head = [step for step in deployed if step.action.kind in _BEFORE]
    rooms = [step for step in head if step.action.kind == "room"]
    chain: list[Step] = []
    for step in [*rooms, *first, *[_of_all(moving, each) for each in head if each not in rooms], *held]:
        chain.append(replace(step, needs=(chain[-1].id,) if chain else ()))
    ids = {step.id for step in chain}
    last = (chain[-1].id,) if chain else ()
    rest = [
        replace(step, needs=tuple(dict.fromkeys((*last, *[n for n in step.needs if n not in ids]))))
        for step in deployed
        if step.action.kind not in _BEFORE
    ]
    return in_order([*chain, *_marked(moving, rest, last)])


def _of_all(moving: Moving, step: Step) -> Step:
    """The new release knows of everything that runs, and not only of what is recreated."""
    if not isinstance(step.action, Begin):
        return step
    containers = moving.droplet.containers
    live = [each.service for each in containers if each.project == moving.droplet.project and each.status in _LIVE]
    names = dict.fromkeys([*live, *step.action.up])
    return replace(step, action=replace(step.action, up=tuple(name for name in names if name)))


def _marked(moving: Moving, rest: list[Step], last: tuple[str, ...]) -> list[Step]:
    """The rest with the mark: behind what makes the new containers, before anything starts one of them."""
    made = tuple(step.id for step in rest if step.action.kind in ("put", "recreate", "create", "volume-mark"))
    mark = _mark(moving, made or last)
    found = []
    for step in rest:
        waits = step.action.kind in ("memory", "start", "finish") and step.id not in made
        found.append(replace(step, needs=(*step.needs, mark.id)) if waits else step)
        if step.action.kind == "start":  # what has been started runs on: its data is at the new place by then
            found[-1] = replace(found[-1], undo=None)
    return [*found, mark]
