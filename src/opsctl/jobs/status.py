"""What runs on a droplet, what should, and what is wrong: pure judgement over one read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from opsctl.jobs.status_problems import find_problems
from opsctl.model.engine import Container, ProbeState, StackFacts
from opsctl.model.stack import Droplet, Service, Stack
from opsctl.model.status import Level, OtherContainer, ServiceStatus, Status

_LOOP = 3  # restarts that make a crash loop, of a container that is up for less than
_SETTLED = 60.0  # s


def judge(
    facts: StackFacts,
    stack: Stack,
    droplet: Droplet,
    usage: Mapping[str, int],
    now: float,
    gates: Mapping[str, ProbeState] | None = None,
) -> Status:
    """What the facts mean. `stack` is merged with compose, `usage` by container id, `now` the host's Unix time.

    `gates` is what services answered that Docker still calls starting.
    """
    reached = reached_phase(facts, stack)
    services = tuple(
        _answering(_service(name, facts, stack, usage, now, reached), (gates or {}).get(name))
        for name in _in_order(dict.fromkeys((*stack.services, *facts.compose)), stack)
    )
    problems = tuple(find_problems(services, facts, droplet))
    return Status(
        engine=facts.engine.version,
        compose=facts.engine.compose_version,
        project=facts.project,
        uptime=facts.uptime,
        boot_id=facts.boot_id,
        memory=facts.memory,
        reserve=droplet.reserve,
        phase=reached,
        phases=tuple(sorted({each.phase for each in services if each.phase is not None})),
        services=services,
        others=tuple(_others(facts, set(facts.compose), usage, now)),
        problems=problems,
        healthy=all(each.level != "failed" for each in problems),
    )


def reached_phase(facts: StackFacts, stack: Stack) -> int:
    """The highest phase of which something runs; 0 when nothing does."""
    running = (name for name in stack.services if (found := facts.of(name)) and is_up(found))
    return max((stack.services[name].phase or 0 for name in running), default=0)


def is_up(container: Container) -> bool:
    """Whether it has processes, or the engine brings it back at once."""
    return container.status in ("running", "paused", "restarting")


def _in_order(names: Iterable[str], stack: Stack) -> list[str]:
    """By phase, then as the stack file has them; those that start alone come after the others, as at a start."""

    def key(name: str) -> tuple[float, bool]:
        service = stack.services.get(name, Service(name))
        return (float("inf") if service.phase is None else service.phase, service.one_by_one)

    return sorted(names, key=key)


def _service(
    name: str, facts: StackFacts, stack: Stack, usage: Mapping[str, int], now: float, reached: int
) -> ServiceStatus:
    service = stack.services.get(name, Service(name))
    compose, found = facts.compose.get(name), facts.of(name)
    wanted = service.phase is not None and service.phase <= reached and not service.optional
    state, level, detail = _missing(name, facts) if found is None else describe(found, one_shot=_one_shot(name, facts))
    if level is Level.IDLE and wanted:
        level = Level.BAD
    since = _since(found, now) if found else None
    if found and is_up(found) and found.restart_count >= _LOOP and since is not None and since < _SETTLED:
        state, level, detail = "restarting", Level.BAD, f"up for {since:.0f} s"
    limit = (found.memory_limit if found else 0) or (compose.memory_limit if compose else 0)
    return ServiceStatus(
        name=name,
        phase=service.phase,
        state=state,
        level=level,
        wanted=wanted,
        container=found.name if found else "",
        since=since,
        exit_code=found.exit_code if found and not is_up(found) and found.status != "created" else None,
        restarts=found.restart_count if found else 0,
        image=found.image if found else compose.image if compose else "",
        memory=usage.get(found.id) if found else None,
        memory_expected=service.memory,
        memory_limit=limit or None,
        ports=_ports(found) if found else (),
        differs=name in facts.drift,
        detail=detail,
    )


def starting(facts: StackFacts) -> frozenset[str]:
    """The services that run and whose health Docker has not made up its mind about.

    Its first check comes one interval after the start: half a minute in which a service may long have been up.
    """
    return frozenset(
        name for name in facts.compose if (found := facts.of(name)) and found.health == "starting" and is_up(found)
    )


def _answering(found: ServiceStatus, gate: ProbeState | None) -> ServiceStatus:
    if gate is None or found.level is not Level.STARTING:
        return found
    if gate.state == "passed":
        return replace(found, state="answering", level=Level.OK, detail=gate.detail)
    return replace(found, detail=gate.detail)


def _missing(name: str, facts: StackFacts) -> tuple[str, Level, str]:
    if name not in facts.compose:
        return "not in the compose file", Level.BAD, ""
    if name in facts.missing_images:
        return "no image", Level.IDLE, f"image {facts.compose[name].image} is not on the droplet"
    return "not created", Level.IDLE, ""


def describe(found: Container, *, one_shot: bool = False) -> tuple[str, Level, str]:
    """A container's state in one word, how it stands, and what it says itself."""
    if found.status == "running":
        output = found.health_log[-1].output.strip() if found.health_log else ""
        match found.health:
            case "unhealthy":
                return "unhealthy", Level.BAD, _first_line(output)
            case "starting":
                return "starting", Level.STARTING, ""
            case health:
                return health or "running", Level.OK, ""
    if found.status == "restarting":
        return "restarting", Level.BAD, f"exit status {found.exit_code}"
    if found.status != "exited":
        return found.status, Level.BAD if found.status in ("dead", "paused") else Level.IDLE, found.error
    if found.oom_killed:
        return "OOM-killed", Level.BAD, "out of memory"
    if found.exit_code == 0:
        return ("done", Level.OK, "") if one_shot else ("stopped", Level.IDLE, "")
    if found.exit_code in (137, 143):
        return "stopped" if found.exit_code == 143 else "killed", Level.IDLE, found.error
    return f"exited {found.exit_code}", Level.BAD, found.error


def _one_shot(name: str, facts: StackFacts) -> bool:
    return any(each.depends_on.get(name) == "service_completed_successfully" for each in facts.compose.values())


def _first_line(text: str) -> str:
    return text.splitlines()[0][:120] if text else ""


def _since(found: Container, now: float) -> float | None:
    if found.status == "created":
        return None
    stamp = found.started_at if is_up(found) and found.status != "restarting" else found.finished_at
    try:
        then = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return max(0.0, now - then.timestamp()) if then.year > 1 else None


def _ports(found: Container) -> tuple[str, ...]:
    shown = []
    for inside, (address, published) in sorted(found.ports.items()):
        number = str(published) if published == inside else f"{published}→{inside}"
        shown.append(f"*:{number}" if address in ("0.0.0.0", "::", "") else number)  # noqa: S104 - read, never bound
    return tuple(shown)


def _others(facts: StackFacts, services: set[str], usage: Mapping[str, int], now: float) -> Iterator[OtherContainer]:
    own = {found.id for name in services if (found := facts.of(name))}
    for each in sorted(facts.containers, key=lambda container: (container.project, container.name)):
        if each.id in own:
            continue
        state, _, _ = describe(each)
        yield OtherContainer(
            each.name, _reason(each, facts, services), state, each.image, _since(each, now), usage.get(each.id)
        )


def _reason(each: Container, facts: StackFacts, services: set[str]) -> str:
    if not each.project:
        return "outside compose"
    if each.project != facts.project:
        return f"project {each.project}"
    if each.oneoff:
        return f"one-off of {each.service}"
    return f"one more of {each.service}" if each.service in services else "no longer in the compose file"
