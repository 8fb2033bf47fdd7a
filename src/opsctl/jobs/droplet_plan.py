"""Plans of what is done to a droplet through its provider, and what each costs. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from opsctl.jobs.droplet_actions import (
    CopyDroplet,
    CopyVolume,
    DeleteCopy,
    PowerCycle,
    PowerOff,
    PowerOn,
    Reboot,
    Resize,
)
from opsctl.jobs.droplet_back import Back
from opsctl.model.cloud import CloudDroplet, CloudSize, CloudSnapshot, CloudVolume
from opsctl.model.droplet import Cost
from opsctl.model.errors import UsageError
from opsctl.model.plan import Plan, Step
from opsctl.model.units import show_duration, show_size

SNAPSHOT_PRICE = 0.06  # US dollars a GB and month, of droplets and volumes; the API has no price for it
_GB = 10**9
OURS = re.compile(r"opsctl-.+-\d{8}T\d{6}Z")


@dataclass(frozen=True)
class Proposal:
    """A plan with what has to be known before it is agreed to. `question` "" where nothing needs an answer."""

    plan: Plan
    droplet: CloudDroplet
    question: str = ""
    by_name: bool = False  # the answer is the droplet's name, not yes
    costs: tuple[Cost, ...] = ()
    notes: tuple[str, ...] = ()
    power: bool = False  # takes the droplet's lease, if it can be reached

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.plan.steps)


def reboot(droplet: CloudDroplet, name: str, back: float) -> Proposal:
    """Reboot through the provider; one that is off is switched on."""
    if droplet.status == "off":
        return power_on(droplet, name, back, command="droplet reboot")
    step = Step(f"cloud-reboot:{name}", f"reboot {name}", Reboot(droplet.id))
    plan = Plan("droplet reboot", (step, *_back(step, name, back)))
    return Proposal(plan, droplet, f"Reboot {name} ({_is(droplet)})? Everything on it stops for a while.", power=True)


def power_cycle(droplet: CloudDroplet, name: str, back: float) -> Proposal:
    """Cut the power and switch it on again; one that is off is switched on."""
    if droplet.status == "off":
        return power_on(droplet, name, back, command="droplet power-cycle")
    step = Step(f"cloud-power-cycle:{name}", f"power-cycle {name}", PowerCycle(droplet.id), destructive=True)
    question = f"Cut the power of {name} ({_is(droplet)})? What is not on its disk is lost."
    return Proposal(Plan("droplet power-cycle", (step, *_back(step, name, back))), droplet, question, power=True)


def power_on(droplet: CloudDroplet, name: str, back: float, *, command: str = "droplet power-on") -> Proposal:
    """Switch on one that is off; nothing to do for one that is on."""
    if droplet.status == "active":
        return Proposal(Plan(command, ()), droplet, notes=(f"{name} is on",))
    step = Step(f"cloud-power-on:{name}", f"switch on {name}", PowerOn(droplet.id))
    notes = () if command == "droplet power-on" else (f"{name} is off: it is only switched on",)
    return Proposal(Plan(command, (step, *_back(step, name, back))), droplet, notes=notes)


def resize(
    droplet: CloudDroplet, name: str, wanted: str, sizes: Sequence[CloudSize], *, disk: bool, back: float
) -> Proposal:
    """Off, another size, on again; whatever of that an interrupted run has done already is left out."""
    command = "droplet resize"
    if droplet.size == wanted:
        on = power_on(droplet, name, back, command=command)
        text = f"{name} is {wanted} already" + ("" if droplet.status == "active" else ", and off: it is switched on")
        return Proposal(on.plan, droplet, notes=(text,))
    size = _size(droplet, wanted, sizes)
    off = Step(f"cloud-power-off:{name}", f"switch off {name}", PowerOff(droplet.id), undo=PowerOn(droplet.id))
    change = Step(
        f"cloud-resize:{name}",
        f"resize {name} from {droplet.size} to {wanted}" + (" with its disk" if disk else ""),
        Resize(droplet.id, wanted, disk),
        needs=(off.id,),
        destructive=disk,
    )
    on_again = Step(f"cloud-power-on:{name}", f"switch on {name}", PowerOn(droplet.id), needs=(change.id,))
    now = next((each.price for each in sizes if each.slug == droplet.size), droplet.price)
    costs = (Cost(f"{droplet.size} now", now), Cost(f"{wanted} from then on", size.price))
    why = "it is off for some minutes" if droplet.status == "active" else "it is off now, and on afterwards"
    for_good = f" Its disk grows to {show_size(size.disk)}, and cannot shrink again." if disk else ""
    return Proposal(
        Plan(command, (off, change, on_again, *_back(on_again, name, back))),
        droplet,
        f"Resize {name} from {_sized(droplet)} to {wanted} ({_offer(size)})? {why.capitalize()}.{for_good}",
        by_name=disk,
        costs=costs,
        power=True,
    )


def _size(droplet: CloudDroplet, wanted: str, sizes: Sequence[CloudSize]) -> CloudSize:
    here = [each for each in sizes if each.available and (not each.regions or droplet.region in each.regions)]
    found = next((each for each in here if each.slug == wanted), None)
    if found is None:
        near = get_close_matches(wanted, [each.slug for each in here], 3) or [each.slug for each in here[:5]]
        known = any(each.slug == wanted for each in sizes)
        raise UsageError(
            f"the size {wanted} cannot be had in {droplet.region}" if known else f"there is no size {wanted}",
            why=f"near it: {', '.join(near)}" if near else f"no size can be had in {droplet.region}",
            next="opsctl droplet sizes",
        )
    if found.disk < droplet.disk:
        raise UsageError(
            f"the disk of {wanted} is too small",
            why=f"it has {show_size(found.disk)}, the droplet {show_size(droplet.disk)}: a disk never shrinks",
            next="opsctl droplet sizes",
        )
    return found


def snapshot(
    droplet: CloudDroplet,
    name: str,
    volumes: Sequence[CloudVolume],
    copies: Sequence[CloudSnapshot],
    *,
    now: datetime,
    keep: float | None,
    own_name: str = "",
) -> Proposal:
    """A copy of the droplet and one of each volume, under one name; then what is older than `keep` seconds goes."""
    title = own_name or f"opsctl-{name}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    if own_name and OURS.fullmatch(own_name):
        raise UsageError(
            f"{own_name} looks like a name of opsctl's own",
            why="what is named so is deleted when it is too old",
            next="opsctl droplet snapshot   # without --name",
        )
    steps = [Step(f"cloud-snapshot:{name}", f"copy the disk of {name}", CopyDroplet(droplet.id, title))]
    for each in volumes:
        step_id = f"cloud-snapshot-volume:{each.name or each.id}"
        steps.append(Step(step_id, f"copy the volume {each.name or each.id}", CopyVolume(each.id, title)))
    made = tuple(step.id for step in steps)
    old = [] if keep is None else outdated(copies, now - timedelta(seconds=keep))
    steps += [
        Step(
            f"cloud-snapshot-delete:{each.id}",
            f"delete the snapshot {each.name} of {'the disk' if each.of_kind == 'droplet' else f'volume {each.of}'}",
            DeleteCopy(each.id, each.created, keep or 0.0),
            needs=made,
            destructive=True,
        )
        for each in old
    ]
    return Proposal(
        Plan("droplet snapshot", tuple(steps)),
        droplet,
        _copy_question(name, volumes, old, keep),
        by_name=bool(old),
        costs=_copy_costs(droplet, volumes, copies, old),
        notes=_copy_notes(droplet, volumes),
    )


def _copy_question(name: str, volumes: Sequence[CloudVolume], old: Sequence[CloudSnapshot], keep: float | None) -> str:
    text = f"Copy {name}" + (f" and {len(volumes)} volume{'s' * (len(volumes) > 1)}" if volumes else "")
    if old:
        older = f"older than {show_duration(keep or 0.0)}"
        text += f", then delete {len(old)} snapshot{'s' * (len(old) > 1)} of opsctl's own {older}"
    return text + "?"


def _copy_notes(droplet: CloudDroplet, volumes: Sequence[CloudVolume]) -> tuple[str, ...]:
    live = () if droplet.status == "off" else ("it is running: the copy is what a power cut would leave",)
    each = ("disk and volumes are not copied in the very same moment",) if volumes else ()
    return (*live, *each)


def _copy_costs(
    droplet: CloudDroplet,
    volumes: Sequence[CloudVolume],
    copies: Sequence[CloudSnapshot],
    old: Sequence[CloudSnapshot],
) -> tuple[Cost, ...]:
    """What the copies will cost: as much as the last one, else at most as much as everything there is."""
    price = f"{SNAPSHOT_PRICE:.2f} $/GB month"
    costs = []
    for what, of, most in (
        ("disk", str(droplet.id), droplet.disk),
        *((f"volume {v.name}", v.id, v.size) for v in volumes),
    ):
        last = next((each.size for each in reversed(copies) if each.of == of and each.size), None)
        size = most if last is None else last
        told = f"snapshot of the {what}: {show_size(size)}{' at most' if last is None else ' like the last one'}"
        costs.append(Cost(f"{told}, {price}", size / _GB * SNAPSHOT_PRICE, last is None))
    if old:
        gone = sum(each.size for each in old)
        costs.append(Cost(f"no longer for {show_size(gone)} of old snapshots", -gone / _GB * SNAPSHOT_PRICE))
    return tuple(costs)


def outdated(copies: Sequence[CloudSnapshot], before: datetime) -> list[CloudSnapshot]:
    """The copies that opsctl made before then, the oldest first; never the newest of its own."""
    ours = [each for each in copies if OURS.fullmatch(each.name)]
    newest = max((each.name.rpartition("-")[2] for each in ours), default="")
    return [each for each in ours if not each.name.endswith(newest) and _made(each) < before]


def _made(copy: CloudSnapshot) -> datetime:
    try:
        return datetime.fromisoformat(copy.created)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)


def _back(step: Step, name: str, seconds: float) -> tuple[Step, ...]:
    if seconds <= 0:
        return ()
    return (Step(f"ssh:{name}", f"{name} answers over SSH again", Back(seconds), needs=(step.id,)),)


def _is(droplet: CloudDroplet) -> str:
    return f"{droplet.name}, {droplet.id}, {droplet.status}"


def _sized(droplet: CloudDroplet) -> str:
    return f"{droplet.size} ({droplet.memory / 2**30:g} GB, ${droplet.price:g} a month)"


def _offer(size: CloudSize) -> str:
    return f"{size.memory / 2**30:g} GB, {size.vcpus} vCPU, ${size.price:g} a month"
