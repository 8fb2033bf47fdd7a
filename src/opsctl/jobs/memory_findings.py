"""What to know and what to type next, in words, ranked by megabytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from opsctl.model.memory import (
    ContainerMemory,
    DiskReport,
    Finding,
    HostMemory,
    Ledger,
    Limits,
    OomKill,
    Verdict,
)
from opsctl.model.units import show_size

PRESSURE = 5.0  # percent of a minute in which tasks stood still
SWAP_TRAFFIC = 100_000_000  # bytes read back from swap since the boot
DISK_FULL = 0.85
RECLAIMABLE = 500_000_000
BIG_LOG = 100_000_000


def findings(
    host: HostMemory,
    ledger: Ledger,
    containers: Sequence[ContainerMemory],
    limits: Limits,
    ooms: Sequence[OomKill],
    disk: DiskReport,
    *,
    flag: str = "",
) -> tuple[Finding, ...]:
    """Memory before disk, what asks for action before what is good to know, then the largest first.

    `flag` is put behind commands (` -d NAME`).
    """
    found = [
        *_headroom(host),
        *_redundant(containers, flag),
        *_at_risk(containers, flag),
        *_kills(ooms, containers, flag),
        *_limits(host, limits, containers),
        *_swap(host),
        *_overhead(ledger),
        *_spare(containers),
        *_disk(disk, containers),
    ]
    return tuple(sorted(found, key=lambda each: (each.resource != "memory", each.level == "info", -each.bytes)))


def summary(host: HostMemory, containers: Sequence[ContainerMemory], ooms: Sequence[OomKill] | None) -> str:
    """One line: what the constraint is."""
    head = f"{show_size(host.available)} of {show_size(host.total)} available"
    recent = [each for each in ooms or () if each.boot == 0]
    risky = [each.label for each in containers if each.verdict is Verdict.AT_RISK]
    risky += [each.culprit for each in recent if each.scope == "limit" and each.culprit not in risky]
    if any(each.scope == "host" for each in recent):
        return f"{head}; the host ran out of memory since its boot"
    if host.available < host.reserve:
        return f"{head}, less than the reserve of {show_size(host.reserve)}: the host's RAM is the constraint"
    if risky:
        return f"{head}; the constraint is the limit of {_names(list(dict.fromkeys(risky)))}"
    return f"{head}: memory is not short"


def _headroom(host: HostMemory) -> Iterator[Finding]:
    if host.available < host.reserve:
        missing = host.reserve - host.available
        text = f"{show_size(host.available)} available is {show_size(missing)} less than the reserve asks for"
        yield Finding("headroom", "problem", "memory", missing, text)


def _redundant(containers: Iterable[ContainerMemory], flag: str) -> Iterator[Finding]:
    for each in containers:
        if each.verdict is Verdict.REDUNDANT:
            size = each.unreclaimable or 0
            text = f"{each.label} is redundant ({each.reason}): stopping it frees {show_size(size)}"
            yield Finding("redundant", "warning", "memory", size, text, f"opsctl stop {each.label}{flag}")


def _at_risk(containers: Iterable[ContainerMemory], flag: str) -> Iterator[Finding]:
    for each in containers:
        if each.verdict is Verdict.AT_RISK and each.limit:
            held = f"{show_size(each.unreclaimable)} of its {show_size(each.limit)}"
            text = f"{each.label} is at risk: {each.reason} (holds {held})"
            yield Finding("at-risk", "problem", "memory", each.unreclaimable or 0, text, _logs(each, flag))


def _logs(container: ContainerMemory, flag: str) -> str:
    return f"opsctl logs {container.service}{flag}" if container.service else ""


def _kills(ooms: Iterable[OomKill], containers: Sequence[ContainerMemory], flag: str) -> Iterator[Finding]:
    """One finding for each victim and reason."""
    known = {each.label: each for each in containers}
    groups: dict[tuple[str, str, int], list[OomKill]] = defaultdict(list)
    for kill in ooms:
        groups[kill.victim, kill.scope, kill.boot].append(kill)
    for (victim, scope, boot), kills in groups.items():
        last, size = kills[-1], max(kill.victim_bytes or 0 for kill in kills)
        count = "once" if len(kills) == 1 else f"{len(kills)} times"
        when = f", last at {last.time[:19].replace('T', ' ')}" if last.time else ""
        before = " before the last boot" if boot else ""
        who = f"{last.victim_process} in {victim}" if victim in known else f"{last.victim_process} ({victim})"
        command = _logs(known[victim], flag) if victim in known and not boot else ""
        text = f"{who} was OOM-killed {count}{before}{when}: {_why(last, scope)}"
        yield Finding("oom", "warning" if boot else "problem", "memory", size, text, command)


def _why(kill: OomKill, scope: str) -> str:
    if scope == "limit":
        return f"its own limit of {show_size(kill.limit)}" if kill.limit else "its own limit"
    if not kill.culprit:
        return "the host ran out"
    return f"the host ran out, and {kill.culprit} held most ({show_size(kill.culprit_bytes)})"


def _limits(host: HostMemory, limits: Limits, containers: Sequence[ContainerMemory]) -> Iterator[Finding]:
    if limits.total > host.total:
        text = (
            f"the limits add up to {show_size(limits.total)}, {limits.share:.1f} times the RAM: "
            "the host runs out before they bite"
        )
        yield Finding("limits", "warning", "memory", limits.total - host.total, text)
    if limits.unlimited:
        held = sum(each.unreclaimable or 0 for each in containers if each.label in limits.unlimited)
        verb = "has" if len(limits.unlimited) == 1 else "have"
        text = (
            f"{_names(limits.unlimited)} {verb} no limit below the host's {show_size(host.total)}, and may take it all"
        )
        yield Finding("no-limit", "warning", "memory", held, text)


def _swap(host: HostMemory) -> Iterator[Finding]:
    if host.pressure is not None and host.pressure.some[1] >= PRESSURE:
        text = f"tasks stood still for want of memory {host.pressure.some[1]:.0f} % of the last minute"
        yield Finding("pressure", "problem", "memory", host.swap_used or 0, text)
    if (host.swapped_in or 0) >= SWAP_TRAFFIC:
        text = f"{show_size(host.swapped_in)} were read back from swap since the boot: memory was short"
        yield Finding("swap", "warning", "memory", host.swapped_in or 0, text)


def _overhead(ledger: Ledger) -> Iterator[Finding]:
    """What runs outside containers, which no limit covers."""
    rows = [row for row in ledger.rows if row.key in ("docker", "services", "kernel") and row.bytes is not None]
    size = sum(row.bytes or 0 for row in rows)
    if rows and ledger.total:
        parts = ", ".join(f"{row.title} {show_size(row.bytes)}" for row in rows)
        text = f"outside containers: {parts} ({100 * size / ledger.total:.0f} % of the RAM)"
        yield Finding("overhead", "info", "memory", size, text)


def _spare(containers: Iterable[ContainerMemory]) -> Iterator[Finding]:
    under = [each for each in containers if each.verdict is Verdict.UNDER_USED and each.limit]
    if not under:
        return
    spare = sum((each.limit or 0) - max(each.peak or 0, each.unreclaimable or 0) for each in under)
    names = _names([each.label for each in under])
    text = f"{names}: limits could be {show_size(spare)} lower in all, going by the peaks so far"
    yield Finding("under-used", "info", "memory", spare, text)


def _disk(disk: DiskReport, containers: Iterable[ContainerMemory]) -> Iterator[Finding]:
    for place in disk.places:
        if place.used_share >= DISK_FULL:
            text = f"the disk of {place.path} is {100 * place.used_share:.0f} % full: {show_size(place.available)} left"
            yield Finding("disk", "problem", "disk", place.used, text)
    if (disk.reclaimable or 0) >= RECLAIMABLE:
        text = f"{show_size(disk.reclaimable)} of images and build cache are used by no container"
        yield Finding("reclaimable", "info", "disk", disk.reclaimable or 0, text)
    for each in containers:
        if (each.log_bytes or 0) >= BIG_LOG:
            text = f"the log of {each.label} takes {show_size(each.log_bytes)}: it is not rotated"
            yield Finding("log", "warning", "disk", each.log_bytes or 0, text)


def _names(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
