"""Which services are not as they should be, since when, and what ended them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opsctl.jobs.status import describe, is_up
from opsctl.jobs.why_times import ago, clock, seconds_of, utc
from opsctl.model.engine import Container
from opsctl.model.stack import Service, Stack
from opsctl.model.status import Level
from opsctl.model.units import show_duration
from opsctl.model.why import Death, WhyFacts

_LOOP, _SETTLED = 3, 60.0  # as `status` tells a crash loop
_KILLED = 137
_CUT = 255  # the engine's exit code for what ended without it: with the power, or with the engine itself
_SLACK = 90.0  # s around a boot in which an end belongs to it
_CHANGING = (" stop", " restart", " startup", " recover", " deploy", " rollback", " playbook")


def deaths_of(facts: WhyFacts, stack: Stack, own: Mapping[str, Container], asked: str = "") -> Iterator[Death]:
    """By phase, as the stack file has them, then what only compose knows. `own` are the stack's containers.

    A service that was stopped on purpose is no death, unless its phase runs or somebody `asked` for it.
    """
    reached = max(
        (stack.services[name].phase or 0 for name in own if name in stack.services and is_up(own[name])), default=0
    )
    phased = sorted(stack.services, key=lambda name: stack.services[name].phase or 99)
    for name in dict.fromkeys((*phased, *own)):
        service, found = stack.services.get(name, Service(name)), own.get(name)
        wanted = service.phase is not None and service.phase <= reached and not service.optional
        wanted = wanted or name == asked
        if found is None:
            if wanted:
                text = f"{name} has no container: it was never created, or it was removed."
                yield Death(name, "", "not created", None, None, None, 0, "", "it was never created", "", (), text)
        elif death := _death(name, found, facts, wanted):
            yield death


def _death(name: str, found: Container, facts: WhyFacts, wanted: bool) -> Death | None:
    state, level, detail = describe(found)
    since = _since(found, state)
    age = None if since is None else max(0.0, facts.now - since)
    if is_up(found) and found.restart_count >= _LOOP and age is not None and age < _SETTLED:
        state, level = "restarting", Level.BAD
    ended, stopped = _ended_with_droplet(found, facts), _stopped_by(found, facts)
    killed = found.status == "exited" and found.exit_code == _KILLED and not stopped
    if level is Level.OK or level is Level.STARTING or (level is Level.IDLE and not (wanted or ended or killed)):
        return None
    looked = facts.looked.get(found.id)
    cause = ended or stopped or (looked.cause if looked else "") or detail
    if found.status == "exited" and found.exit_code == 0 and not stopped:
        cause = "it ended by itself, or somebody stopped it by hand"
    health = found.health_log[-1].output.strip() if found.health_log and found.health_log[-1].exit_code else ""
    at = None if since is None else utc(since)
    oom = looked.oom if looked and (found.oom_killed or found.exit_code == _KILLED) else ""
    text = _sentence(name, found, state, at, facts.now, cause)
    exit_code = None if found.status in ("running", "created") else found.exit_code
    log = looked.log if looked else ()
    return Death(name, found.name, state, age, at, exit_code, found.restart_count, oom, cause, health, log, text)


def silent_death(name: str, found: Container, seen: str, at: str) -> Death:
    """One that runs, of which Docker knows nothing bad, and that did not answer when it was asked at `at`."""
    text = f"{name} runs and does not answer (asked once, for a second at most): {seen}."
    cause = f"its gate does not pass: {seen}"
    return Death(name, found.name, "silent", None, at, None, found.restart_count, "", cause, "", (), text)


def _since(found: Container, state: str) -> float | None:
    if state == "unhealthy":
        bad = [each.ended for each in found.health_log if each.exit_code]
        return seconds_of(bad[0]) if bad else seconds_of(found.started_at)
    return seconds_of(found.started_at if found.status in ("running", "paused") else found.finished_at)


def _ended_with_droplet(found: Container, facts: WhyFacts) -> str:
    """Words for an end that came with the droplet's own, or the engine's."""
    finished, booted = seconds_of(found.finished_at), facts.now - facts.uptime
    if is_up(found) or finished is None or found.exit_code != _CUT:
        return ""
    if abs(finished - booted) < _SLACK or finished < booted:
        return "it ended with the droplet, and nothing started it again after the boot"
    return "it ended with the Docker engine, and nothing started it again"


def _stopped_by(found: Container, facts: WhyFacts) -> str:
    """Which of opsctl's own runs stopped it, by the droplet's audit."""
    finished = seconds_of(found.finished_at)
    if is_up(found) or finished is None or found.oom_killed or found.exit_code not in (0, 137, 143):
        return ""
    ends = {each.get("run"): seconds_of(str(each.get("at", ""))) for each in facts.audit if each.get("event") == "end"}
    for each in reversed(facts.audit):
        command, began = str(each.get("command", "")), seconds_of(str(each.get("at", "")))
        if each.get("event") != "begin" or began is None or not any(word in command for word in _CHANGING):
            continue
        end = ends.get(each.get("run")) or began + 300
        if began - 1 <= finished <= end + 1:
            return f"it was stopped by `{command}` ({each.get('user')} from {each.get('from')})"
    return ""


def _sentence(name: str, found: Container, state: str, at: str | None, now: int, cause: str) -> str:
    since = f" since {clock(at)}{ago(at, now)}" if at else ""
    why = f": {cause}" if cause else ""
    match state:
        case "restarting":
            last = seconds_of(found.finished_at)
            when = f", the last time {show_duration(max(0.0, now - last))} ago" if last else ""
            return f"{name} crashes again and again ({found.restart_count} restarts{when}){why}."
        case "unhealthy":
            return f"{name} runs and is unhealthy{since}{why}."
        case "OOM-killed":
            return f"{name} is down{since}: it ran out of memory and was killed{f' ({cause})' if cause else ''}."
        case "paused":
            return f"{name} is paused{since}."
        case "created":
            return f"{name} was created and never started{why}."
        case _:
            code = f" with exit code {found.exit_code}" if found.status == "exited" else f" ({state})"
            return f"{name} is down{code}{since}{why}."
