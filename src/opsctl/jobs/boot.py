"""Who starts the stack after a boot: restart policies that leave it to opsctl, and what is to be up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from opsctl.jobs.call import STATE_DIR
from opsctl.jobs.containers import USE_SOCKET
from opsctl.model.boot import BootState
from opsctl.model.engine import Container
from opsctl.model.errors import StepFailed
from opsctl.model.events import Outcome
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Action, Step
from opsctl.model.ports import Script
from opsctl.model.stack import Droplet, Stack
from opsctl.spine.batch import Batch, Handler

STEP = "boot"
_BOUND = 60.0  # s

# The old policies are on the disk before the first is changed: what is not written down cannot be put back.
_SET = (
    USE_SOCKET
    + r"""
file=$1 text=$2; shift 2
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin"
write() { (umask 002; mkdir -p "${file%/*}" && printf '%s\n' "$text" >"$file.new" && sync -- "$file.new" &&
  mv -f -- "$file.new" "$file"); }
if [ -n "$text" ]; then write || { echo "$file cannot be written" >&2; exit 1; }; fi
rc=0
while [ $# -ge 2 ]; do
  said=$(docker update --restart "$2" "$1" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2; rc=1; }
  shift 2
done
[ $rc = 0 ] || exit 1
[ -n "$text" ] || rm -f -- "$file"
"""
)


@dataclass(frozen=True)
class SetBoot(Action):
    """Remember what is to be up, and give containers the policy that a boot needs. `state` "" forgets everything."""

    kind: ClassVar[str] = "boot"
    state: str  # the new content of boot.json
    policies: Mapping[str, str]  # service → the policy it gets


@dataclass(frozen=True)
class BootPlan:
    """What the state becomes, and which services get another policy."""

    state: BootState
    policies: Mapping[str, str]


def replays(facts: DropletFacts, droplet: Droplet) -> bool:
    """Whether opsctl starts the later phases after a boot: asked for, and installed on the droplet."""
    return droplet.boot == "replay" and facts.boot.replay


def plan_boot(
    facts: DropletFacts,
    stack: Stack,
    droplet: Droplet,
    *,
    start: Iterable[str] = (),
    stop: Iterable[str] = (),
    fresh: Iterable[str] = (),
    replay: bool | None = None,
) -> BootPlan:
    """What a run has to set that starts and stops these services, and creates (again) the `fresh` ones. Pure.

    `replay` overrides what the stack file and the droplet say (for `host install` and `host remove`).
    """
    wanted = replays(facts, droplet) if replay is None else replay
    new = set(fresh)
    old, policies = dict(facts.boot.policies), dict[str, str]()
    for name in facts.compose:
        container = facts.of(name)
        if container is None and name not in new:
            continue
        now, file = _policies(facts, name, container, created=name in new)
        if wanted and later(stack, name):
            if now != "no":
                old[name], policies[name] = now, "no"
            elif name in new and file == "no":
                old.pop(name, None)
        elif name in old:
            before = old.pop(name)
            if before != now:
                policies[name] = before
    up = [each for each in dict.fromkeys([*facts.boot.up, *start]) if each not in set(stop)]
    state = BootState(wanted, old if wanted else {}, tuple(up) if wanted else ())
    return BootPlan(state, policies)


def later(stack: Stack, name: str) -> bool:
    """Whether a service must wait for a gate after a boot: all that are not of phase 1."""
    return name in stack.services and stack.services[name].phase != 1


def _policies(facts: DropletFacts, name: str, container: Container | None, *, created: bool) -> tuple[str, str]:
    """The policy that a container has when the step begins, and the compose file's."""
    file = facts.compose[name].restart or "no"
    if container is None or created:
        return file, file
    # The engine's listing leaves out how often `on-failure` may try; the file still says so.
    same = file.partition(":")[0] == container.restart_policy
    return (file if same else container.restart_policy), file


def boot_step(
    facts: DropletFacts,
    stack: Stack,
    droplet: Droplet,
    *,
    start: Sequence[str] = (),
    stop: Sequence[str] = (),
    fresh: Sequence[str] = (),
    needs: Sequence[str] = (),
) -> Step | None:
    """The step of a run of `startup`, `stop`, `restart` or `deploy`; None where nothing is to be set.

    It belongs after the steps that create the `fresh` containers (`needs`), and before what starts those of a later
    phase. A droplet on which nothing was installed, and that remembers nothing, never needs it.
    """
    if not facts.boot.replay and not facts.boot.policies:
        return None
    plan = plan_boot(facts, stack, droplet, start=start, stop=stop, fresh=fresh)
    if not plan.policies and _same(plan.state, facts.boot):
        return None
    return step_of(plan, needs)


def _same(one: BootState, other: BootState) -> bool:
    return replace(one, up=()) == replace(other, up=()) and set(one.up) == set(other.up)


def step_of(plan: BootPlan, needs: Sequence[str] = ()) -> Step:
    """The step that carries a boot plan out."""
    state = plan.state.to_text() if plan.state.replay else ""
    return Step(
        STEP, title(state, plan.policies), SetBoot(state, dict(sorted(plan.policies.items()))), needs=tuple(needs)
    )


def weave(steps: Sequence[Step], step: Step, creates: Mapping[str, str], starts: Mapping[str, str]) -> list[Step]:
    """A plan's steps with this one in its place: behind what creates a container, and before what starts it.

    `creates` and `starts` name these steps by service. Where containers are created in two steps, it becomes two: what
    is created second may wait for what was started first.
    """
    action = step.action
    assert isinstance(action, SetBoot)
    labels = [
        label for label in dict.fromkeys(creates.values()) if any(creates.get(n) == label for n in action.policies)
    ]
    groups: dict[str, dict[str, str]] = {label: {} for label in labels}
    there = {name: policy for name, policy in action.policies.items() if name not in creates}
    for name, policy in action.policies.items():
        if name in creates:
            groups[creates[name]][name] = policy
    first = labels[0] if labels else ""
    groups[first] = {**there, **groups.get(first, {})}
    woven = list(steps)
    for number, (label, policies) in enumerate(groups.items()):
        part = SetBoot(action.state, policies)
        name = step.id if number == 0 else f"{step.id}:{number + 1}"
        needs = tuple(each for each in dict.fromkeys((*step.needs, label)) if each)
        made = Step(name, title(action.state, policies), part, needs=needs)
        woven = _placed(woven, made, {starts[each] for each in policies if each in starts})
    return woven


def _placed(steps: list[Step], made: Step, waiting: set[str]) -> list[Step]:
    """Right behind what it needs; and whatever starts after that waits for it."""
    at = max((n + 1 for n, each in enumerate(steps) if each.id in made.needs), default=0)
    later = [replace(each, needs=(*each.needs, made.id)) if each.id in waiting else each for each in steps[at:]]
    return [*steps[:at], made, *later]


def title(state: str, policies: Mapping[str, str]) -> str:
    """What the step does, in words."""
    given = dict[str, list[str]]()
    for name, policy in sorted(policies.items()):
        given.setdefault(policy, []).append(name)
    parts = [f"restart policy `{policy}` for {', '.join(names)}" for policy, names in given.items()]
    return "; ".join(parts) or ("remember what is to be up after a boot" if state else "forget what is to be up")


def title_of(action: SetBoot) -> str:
    """What was done, in words."""
    names = ", ".join(action.policies)
    return f"restart policies set: {names}" if names else "remembered for the next boot"


def note(facts: DropletFacts, droplet: Droplet) -> tuple[str, ...]:
    """What is worth saying about the boot."""
    if droplet.boot == "replay" and not facts.boot.replay:
        return (f"boot: replay has no effect yet on {droplet.name}: run opsctl host install",)
    return ()


def handler(ids: Callable[[str], str], socket: str) -> Handler:
    """Does SetBoot steps; `ids` says which container stands for a service by then."""
    where = socket if socket.startswith("/") else ""

    def run(batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, SetBoot)
        pairs = [word for name, policy in action.policies.items() if (found := ids(name)) for word in (found, policy)]
        path = f"{STATE_DIR}/boot.json"
        answer = batch.change(Script(_SET, (where, path, action.state, *pairs)), timeout=_BOUND)
        if answer.code != 0:
            raise StepFailed(
                "the restart policies could not be set",
                why=answer.error_text.splitlines()[-1] if answer.error_text else f"exit status {answer.code}",
                next="opsctl host status",
                code="boot-policies",
            )
        batch.done(step, Outcome.CHANGED, title_of(action))

    return Handler(run)
