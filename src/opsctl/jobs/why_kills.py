"""Who was killed for want of memory, and who is to blame, by the kernel's own table of tasks. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from opsctl.jobs.why_times import ago, clock, seconds_of
from opsctl.model.units import show_size
from opsctl.model.why import KernelKill, Kill, WhyFacts

_SLACK = 2.0  # s
_NEAR = 60.0  # s
_COMM = 15  # letters of a process's name that the kernel keeps


@dataclass(frozen=True)
class _Blame:
    """Who held most: `container` is an id, "" for a process that belongs to none that is known."""

    container: str
    process: str
    bytes: int | None
    sure: bool


def kills_of(facts: WhyFacts, names: Mapping[str, str]) -> tuple[Kill, ...]:
    """The kills by name, the latest last; what happened alike again and again is one, with how often."""
    found: dict[tuple[object, ...], Kill] = {}
    for each in facts.kills or ():
        kill = _kill(each, facts, names)
        key = (kill.boot, kill.scope, kill.victim, kill.victim_process, kill.culprit)
        before = found.pop(key, None)
        found[key] = replace(kill, times=before.times + 1) if before else kill
    return tuple(replace(each, text=sentence(each, facts.now)) for each in found.values())


def label(container: str, names: Mapping[str, str]) -> str:
    """What people call a container."""
    return names.get(container) or f"a container that is gone ({container[:12]})"


def _kill(each: KernelKill, facts: WhyFacts, names: Mapping[str, str]) -> Kill:
    event = each.event
    if facts.nested and (at := seconds_of(event.time)) is not None and at < facts.now - facts.uptime - _SLACK:
        # The machine's log goes on while a droplet in it starts anew.
        event = replace(event, boot=-1)
        each = replace(each, event=event)
    blame = _blame(each, facts)
    victim = label(event.victim_id, names) if event.victim_id else "a process outside the containers"
    same = blame.container == event.victim_id and bool(blame.container)
    same = same or (not blame.container and not event.victim_id and blame.process == event.victim_process)
    culprit = label(blame.container, names) if blame.container else f"the process {blame.process}"
    return Kill(
        time=event.time,
        boot=event.boot,
        scope=event.scope,
        victim=victim,
        victim_process=event.victim_process,
        victim_bytes=event.victim_bytes,
        culprit=victim if same else culprit if blame.process else "",
        culprit_process=blame.process,
        culprit_bytes=blame.bytes,
        same=same,
        limit=event.limit if event.scope == "limit" else None,
        invoked_by=event.invoked_by,
        times=1,
        text="",
    )


def _blame(each: KernelKill, facts: WhyFacts) -> _Blame:
    """Whoever went over its own limit; else who held the most anonymous memory when the kernel killed."""
    event = each.event
    if event.scope == "limit" or not each.tasks:
        largest = each.tasks[0] if each.tasks else None
        owner = event.limit_id or event.victim_id if event.scope == "limit" else event.victim_id
        return _Blame(
            owner, largest.name if largest else event.victim_process, largest.anon if largest else None, bool(owner)
        )
    held: dict[str, int] = defaultdict(int)
    first: dict[str, _Blame] = {}
    for task in each.tasks:
        owner, sure = _owner(task.pid, task.name, each, facts)
        key = owner or f"pid {task.pid}"
        held[key] += task.anon
        first.setdefault(key, _Blame(owner, task.name, None, sure))
    most = max(held, key=lambda key: held[key])
    return replace(first[most], bytes=held[most])


def _owner(pid: str, name: str, each: KernelKill, facts: WhyFacts) -> tuple[str, bool]:
    """The container of a task: the kernel names only the victim's, so what still runs is asked."""
    at = seconds_of(each.event.time)
    others = [kill for kill in facts.kills or () if kill.event.boot == each.event.boot]
    victims = {kill.pid: kill.event.victim_id for kill in others if not _before(kill, at)}
    if victims.get(pid):
        return victims[pid], True  # killed too, at once or a moment after
    if each.event.boot == 0 and not facts.nested and facts.comms.get(pid, "")[:_COMM] == name[:_COMM]:
        return facts.processes.get(pid, ""), True
    # Gone, of another boot, or numbered differently: the only container that runs such a program.
    alike = name[:_COMM]
    owners = {owner for other, owner in facts.processes.items() if facts.comms.get(other, "")[:_COMM] == alike}
    owners |= {owner for owner, program in facts.programs.items() if program[:_COMM] == alike}
    if name == each.event.victim_process and each.event.victim_id:
        owners.add(each.event.victim_id)
    owners = {owner for owner in owners if not _was_dead(owner, at, others, facts)}
    if len(owners) != 1:
        # Whose process of that name was killed within a minute.
        owners = {kill.event.victim_id for kill in others if kill.event.victim_process[:_COMM] == alike}
        near = {kill.event.victim_id for kill in others if not _before(kill, at) and not _before(each, _late(kill))}
        owners = {owner for owner in owners & near if owner}
    return (next(iter(owners)), False) if len(owners) == 1 else ("", False)


def _before(kill: KernelKill, at: float | None) -> bool:
    """Whether it was over at that time; kernels log one kill within a moment."""
    when = seconds_of(kill.event.time)
    return at is not None and when is not None and when < at - 1


def _late(kill: KernelKill) -> float | None:
    when = seconds_of(kill.event.time)
    return None if when is None else when - _NEAR


def _was_dead(owner: str, at: float | None, kills: Sequence[KernelKill], facts: WhyFacts) -> bool:
    """Whether a container had been killed before that time, and had not come back by then."""
    if at is None or not any(kill.event.victim_id == owner and _before(kill, at) for kill in kills):
        return False
    found = next((each for each in facts.containers if each.id == owner), None)
    if found is None:
        return True
    started, finished = seconds_of(found.started_at), seconds_of(found.finished_at)
    if found.status == "running":
        return started is not None and started > at
    return finished is not None and finished < at


def sentence(kill: Kill, now: int) -> str:
    """One kill in whole sentences."""
    when = f"at {clock(kill.time)}{ago(kill.time, now)}" if kill.time else "at an unknown time"
    if kill.boot < 0:
        when += ", before the droplet's last start"
    if kill.times > 1:
        when += f" (the last of {kill.times} times)"
    held = f", which held {show_size(kill.victim_bytes)}" if kill.victim_bytes is not None else ""
    if kill.scope == "limit":
        limit = f" of {show_size(kill.limit)}" if kill.limit else ""
        owner = kill.victim if kill.same or not kill.culprit else kill.culprit
        killed = f"the kernel killed its process {kill.victim_process}{held}"
        return f"{owner} went over its own memory limit{limit} {when}: {killed}."
    size = f", {show_size(kill.victim_bytes)}" if kill.victim_bytes else ""
    whom = f"{kill.victim} (process {kill.victim_process}{size})"
    head = f"The host ran out of memory {when}, and the kernel killed {whom}."
    if kill.same:
        return f"{head} It held more than anything else, so it is the culprit itself."
    if not kill.culprit:
        return head
    size = f", which held {show_size(kill.culprit_bytes)}, more than anything else" if kill.culprit_bytes else ""
    process = f" (process {kill.culprit_process})" if not kill.culprit.startswith("the process") else ""
    return f"{head} The culprit is {kill.culprit}{process}{size}."
