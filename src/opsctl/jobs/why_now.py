"""What is wrong now, and what is over: the answer in its order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsctl.jobs.why_host import boot_words, disk_words, engine_words, pressure_words
from opsctl.jobs.why_times import seconds_of
from opsctl.model.engine import Container
from opsctl.model.stack import Droplet
from opsctl.model.units import show_duration
from opsctl.model.why import Death, Kill, WhyFacts

_KILLED = 137
_LOOPING = 90.0  # s; Docker's longest pause between two lives of a container is a minute
_TIGHT = 600.0  # s; a kill so long ago belongs to memory that is short now
_FRESH = 900.0  # s; a boot so long ago is why something is down
_JUST = 120.0  # s; a kill so long ago is said at once, though it is over
_ENGINE = ("dockerd", "containerd", "containerd-shim")


def live(kills: Sequence[Kill], facts: WhyFacts, deaths: Sequence[Death], droplet: Droplet) -> tuple[Kill, ...]:
    """The kills for which something is wrong now; the others are history."""
    return tuple(each for each in kills if _is_live(each, facts, deaths, droplet))


def _is_live(kill: Kill, facts: WhyFacts, deaths: Sequence[Death], droplet: Droplet) -> bool:
    age = _age(kill, facts)
    if kill.boot < 0:
        return False
    if facts.memory.available < droplet.reserve and age < _TIGHT:
        return True
    if facts.engine_error and kill.victim_process in _ENGINE and age < _TIGHT:
        return True
    for death in deaths:
        if death.service == kill.victim:
            looping = death.restarts > 0 or death.state == "unhealthy"
            if death.oom or death.exit_code == _KILLED or (looping and age < _LOOPING):
                return True
    return False


def _age(kill: Kill, facts: WhyFacts) -> float:
    at = seconds_of(kill.time)
    return 0.0 if at is None else max(0.0, facts.now - at)


def answer(
    facts: WhyFacts,
    droplet: Droplet,
    own: Mapping[str, Container],
    deaths: tuple[Death, ...],
    kills: tuple[Kill, ...],
    service: str,
) -> tuple[str, tuple[str, ...]]:
    """The verdict and its sentences: what is wrong now, the weightiest first; then what is well; then what is over."""
    now = live(kills, facts, deaths, droplet)
    told = {each.victim for each in now}
    booted = tuple(boot_words(facts))
    fresh = bool(booted) and bool(deaths) and facts.uptime < _FRESH
    said: list[tuple[str, str]] = []
    said += [("engine", text) for text in engine_words(facts)]
    said += [("disk", text) for text in disk_words(facts)]
    said += [("host-memory" if each.scope == "host" else "limit", each.text) for each in reversed(now)]
    said += [("boot", text) for text in booted if fresh]
    said += [("service", each.text) for each in deaths if not (each.service in told and each.oom)]
    said += [("down", each.text) for each in deaths if each.service in told and each.oom]
    said += [("pressure", text) for text in pressure_words(facts, droplet)]
    up = _up(own, deaths, service, facts)
    over = [] if fresh else list(booted)
    over += [f"Over by now: {each.text}" for each in reversed(kills) if each not in now]
    if not said:
        return "ok", tuple(text for text in (_but_just(up, own, kills, facts), *over) if text)
    shown = up if up and not service else ""
    return said[0][0], tuple(text for text in (*(text for _, text in said), shown, *over) if text)


def _but_just(up: str, own: Mapping[str, Container], kills: Sequence[Kill], facts: WhyFacts) -> str:
    """What is well, with what was killed a moment ago: who asks then wants to hear that first."""
    just = {each.victim: each for each in kills if each.boot == 0 and each.time and _age(each, facts) < _JUST}
    if not just or not up:
        return up
    ours = [each for name, each in just.items() if name in own] or list(just.values())
    return f"{up.rstrip('.')}; but {', '.join(_fate(each, own.get(each.victim), facts) for each in ours[-3:])}."


def _fate(kill: Kill, found: Container | None, facts: WhyFacts) -> str:
    took = f"was killed for memory {show_duration(_age(kill, facts))} ago"
    if found is None:
        return f"{kill.victim} (process {kill.victim_process}) {took}"
    if (seconds_of(found.started_at) or 0.0) >= (seconds_of(kill.time) or 0.0) - 1:
        return f"{kill.victim} {took} and runs again"
    return f"{kill.victim}'s process {kill.victim_process} {took}, and the rest of it runs on"


def _up(own: Mapping[str, Container], deaths: tuple[Death, ...], service: str, facts: WhyFacts) -> str:
    if facts.engine_error:
        return ""
    down = {each.service for each in deaths}
    up = [name for name, each in own.items() if each.status == "running" and name not in down]
    if service:
        if service in up:
            return f"Nothing is wrong with {service} now."
        return "" if deaths else f"{service} does not run."
    age = show_duration(facts.uptime)
    if deaths:
        return f"{len(up)} of {len(own)} services are up: {', '.join(sorted(up))}." if up else "No service is up."
    if not own:
        return f"No service of the stack has a container; the droplet is up for {age}."
    if not up:
        return f"No service runs: the {len(own)} with a container were stopped in good order; up for {age}."
    return f"Nothing is down: {len(up)} of {len(own)} services run; the droplet is up for {age}."
