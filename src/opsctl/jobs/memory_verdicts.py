"""What to think of each container's memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from opsctl.model.memory import ContainerMemory, Limits, Verdict
from opsctl.model.memory_facts import ContainerFacts, MemoryFacts, Usage
from opsctl.model.stack import Stack
from opsctl.model.units import show_duration, show_size

AT_RISK = 0.85  # unreclaimable of the limit
UNDER_USED = 0.25  # unreclaimable of the limit, with the peak (page cache included) below UNDER_USED_PEAK
UNDER_USED_PEAK = 0.5
UNDER_USED_LEAST = 64_000_000  # smaller gains are not worth a line
UNDER_USED_AGE = 3600.0  # s since the start: before that its peak says little


def container_memory(facts: MemoryFacts, stack: Stack) -> tuple[ContainerMemory, ...]:
    """Every container with its verdict: running ones by what they hold, then the stopped ones."""
    total = facts.meminfo.get("MemTotal", 0)
    logged = [event.victim_id for event in facts.ooms or () if event.boot == 0]
    made = [_container(each, facts, stack, total, logged.count(each.id)) for each in facts.containers]
    return tuple(
        sorted(made, key=lambda each: (each.verdict is Verdict.STOPPED, -(each.unreclaimable or 0), each.name))
    )


def limits(containers: Sequence[ContainerMemory], total: int) -> Limits:
    """The sum of the running containers' limits. One at or above MemTotal never bites and counts as none."""
    running = [each for each in containers if each.verdict is not Verdict.STOPPED and each.limit is not None]
    biting = [each.limit for each in running if each.limit is not None and _bites(each.limit, total)]
    without = tuple(each.label for each in running if each.limit is not None and not _bites(each.limit, total))
    return Limits(sum(biting), sum(biting) / total if total else 0.0, len(biting), without)


def _container(facts: ContainerFacts, host: MemoryFacts, stack: Stack, total: int, logged: int) -> ContainerMemory:
    usage = facts.memory or Usage()
    limit = usage.limit if facts.running else facts.configured_limit
    kills = max(usage.oom_kills or 0, logged, int(facts.oom_killed))
    counted = usage.oom_kills is not None or host.ooms is not None or facts.oom_killed
    age = _age(facts.started_at, host.taken) if facts.running else None
    verdict, reason = _verdict(facts, usage, limit, kills, stack, total, age)
    return ContainerMemory(
        id=facts.id,
        name=facts.name,
        service=facts.service,
        project=facts.project,
        image=facts.image,
        status=facts.status,
        age=age,
        used=usage.used,
        unreclaimable=usage.unreclaimable,
        limit=limit,
        limit_share=usage.used / limit if usage.used is not None and limit else None,
        swap=usage.swap,
        peak=usage.peak,
        restarts=facts.restarts,
        oom_kills=kills if counted else None,
        log_bytes=facts.log_bytes,
        verdict=verdict,
        reason=reason,
    )


def _verdict(
    facts: ContainerFacts, usage: Usage, limit: int | None, kills: int, stack: Stack, total: int, age: float | None
) -> tuple[Verdict, str]:
    redundant = stack.redundant.get(facts.service or facts.name)
    held = usage.unreclaimable
    if not facts.running:
        return Verdict.STOPPED, _stopped(facts)
    if held is None or limit is None:
        return Verdict.UNKNOWN, "its cgroup could not be read"
    if redundant is not None:
        return Verdict.REDUNDANT, redundant.reason
    share = held / limit if limit else 0.0
    if _bites(limit, total) and share >= AT_RISK:
        return Verdict.AT_RISK, f"holds {100 * share:.0f} % of its limit and cannot give it back"
    if kills:
        return Verdict.AT_RISK, f"OOM-killed {_times(kills)}"
    if limit == 0:
        return Verdict.NO_LIMIT, "can take the whole host"
    if not _bites(limit, total):
        return (
            Verdict.NO_LIMIT,
            f"its limit of {show_size(limit)} is not below the RAM: it never bites",
        )
    peak = max(held, usage.peak or 0)
    spare = limit - peak
    if share <= UNDER_USED and peak <= UNDER_USED_PEAK * limit and spare >= UNDER_USED_LEAST:
        if age is None or age < UNDER_USED_AGE:
            return Verdict.HEALTHY, "too early to judge its limit"
        since = f", {show_duration(age)} after its start"
        return Verdict.UNDER_USED, f"its peak is {100 * peak / limit:.0f} % of its limit{since}"
    return Verdict.HEALTHY, ""


def _stopped(facts: ContainerFacts) -> str:
    if facts.status == "created":
        return "never started"
    why = "OOM-killed, " if facts.oom_killed else ""
    return f"{why}exit code {facts.exit_code}"


def _bites(limit: int, total: int) -> bool:
    return 0 < limit < total


def _age(started: str, now: int) -> float | None:
    try:
        return max(0.0, now - datetime.fromisoformat(started).timestamp())
    except ValueError:
        return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
