"""What is sick, whether it is its turn, and the steps that bring it back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from opsctl.jobs.startup_plan import Planned, plan
from opsctl.jobs.startup_select import Options, one_shots, phase_of
from opsctl.jobs.startup_steps import FindSql
from opsctl.jobs.stop import plan_stop
from opsctl.model.engine import Container
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Action, Plan, Step
from opsctl.model.stack import Droplet, Stack

LIMIT = 5
"""So often within WINDOW a service is started again; then somebody has to look."""

WINDOW = 3600.0  # s
_FIRST_WAIT = 60.0  # s after the first try; twice as long after each further one
_ASKED = (0, 143)  # what a process ends with that was asked to
_KILLED = 137


@dataclass(frozen=True)
class Try(Action):
    """Write down that a service is started again; `tries` are the droplet's clock, in seconds."""

    kind: ClassVar[str] = "try"
    service: str
    tries: tuple[float, ...]


@dataclass(frozen=True)
class Sick:
    """A service that should run and does not, or runs and is unhealthy. `wait` in seconds until its next turn."""

    service: str
    why: str
    running: bool
    tries: tuple[float, ...]
    wait: float = 0.0

    @property
    def given_up(self) -> bool:
        """Whether it was tried so often that somebody has to look."""
        return len(self.tries) >= LIMIT

    @property
    def due(self) -> bool:
        """Whether it is started again now."""
        return self.wait <= 0 and not self.given_up


def parse(text: str) -> dict[str, tuple[float, ...]]:
    """Service → when it was tried, from heal.json; what cannot be read counts as nothing."""
    try:
        said = json.loads(text or "{}")["services"]
        return {str(name): tuple(float(each) for each in tries) for name, tries in said.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def since(tries: Mapping[str, Sequence[float]], begin: float) -> dict[str, tuple[float, ...]]:
    """Those after `begin`, the droplet's clock in seconds."""
    return {name: tuple(each for each in times if each > begin) for name, times in tries.items()}


def to_text(tries: Mapping[str, Sequence[float]]) -> str:
    """The content of heal.json."""
    return json.dumps({"version": 1, "services": {name: list(each) for name, each in sorted(tries.items())}})


def find(
    facts: DropletFacts, stack: Stack, tries: Mapping[str, Sequence[float]], now: float
) -> tuple[tuple[Sick, ...], tuple[str, ...]]:
    """The sick services, by phase, and what is worth saying of others."""
    shots, found, notes = one_shots(facts), list[Sick](), list[str]()
    for service in sorted(stack.services.values(), key=phase_of):
        container = facts.of(service.name)
        wanted = service.name in facts.boot.up
        if service.name in shots or service.name not in facts.compose or (service.phase is None and not wanted):
            continue
        why = _why(container, wanted)
        if why:
            running = container is not None and container.status in ("running", "paused")
            recent = tuple(each for each in tries.get(service.name, ()) if now - WINDOW < each <= now)
            wait = recent[-1] + _FIRST_WAIT * 2 ** (len(recent) - 1) - now if recent else 0.0
            found.append(Sick(service.name, why, running, recent, wait))
        elif container is not None and container.status == "restarting":
            notes.append(f"{service.name} is restarted by Docker again and again: opsctl why {service.name}")
        elif container is not None and container.status == "exited" and container.exit_code == _KILLED:
            notes.append(f"{service.name} was killed, by a person or for memory: opsctl why {service.name}")
    return tuple(found), tuple(notes)


def _why(container: Container | None, wanted: bool) -> str:
    if container is None:
        return "its container is gone" if wanted else ""
    if container.status == "running":
        return "unhealthy" if container.health == "unhealthy" else ""
    if container.status == "exited" and container.oom_killed:
        return "killed for memory"
    if container.status == "exited" and container.exit_code not in (*_ASKED, _KILLED):
        return f"crashed with exit status {container.exit_code}"
    if container.status == "dead":
        return "dead"
    return f"{container.status}, and is to be up" if wanted and container.status in ("exited", "created") else ""


def words(sick: Sequence[Sick]) -> tuple[str, ...]:
    """What is said of each of them."""
    said = []
    for each in sick:
        if each.given_up:
            how = f"started again {LIMIT} times within an hour: somebody has to look: opsctl why {each.service}"
        elif each.wait > 0:
            how = f"tried {len(each.tries)} times; its next turn is in {each.wait:.0f} s"
        else:
            how = f"is started again (try {len(each.tries) + 1} of {LIMIT})"
        said.append(f"{each.service}: {each.why}; {how}")
    return tuple(said)


def plan_heal(
    facts: DropletFacts,
    stack: Stack,
    droplet: Droplet,
    sick: Sequence[Sick],
    now: float,
    *,
    find_sql: FindSql = lambda _: None,
) -> Planned:
    """The steps of a gated startup of what is due; each is written down right before it is touched."""
    due = {each.service: each for each in sick if each.due}
    if not due:
        return Planned(Plan("heal", ()))
    running = [name for name, each in due.items() if each.running]
    stops = (
        [step for step in plan_stop(facts, stack, running).plan.steps if step.action.kind == "stop"] if running else []
    )
    down = tuple(_down(each) if each.service in running else each for each in facts.containers)
    up = plan(
        replace(facts, containers=down), stack, droplet, Options(only=tuple(due)), command="heal", find_sql=find_sql
    )
    steps = [replace(step, needs=(*step.needs, f"try:{step.service}")) for step in stops]
    first = tuple(step.id for step in stops)
    for step in up.plan.steps:
        step = step if step.needs or not first else replace(step, needs=first)
        if step.action.kind == "start" and step.service in due:
            if step.service not in running:
                steps.append(_try(due[step.service], step.needs, now))
            step = replace(step, needs=(*step.needs, f"try:{step.service}"))
        steps.append(step)
    tries = [_try(due[name], (), now) for name in running]
    return Planned(Plan("heal", (*tries, *steps)), up.notes)


def _try(sick: Sick, needs: tuple[str, ...], now: float) -> Step:
    action = Try(sick.service, (*sick.tries, now))
    return Step(f"try:{sick.service}", f"{sick.service}: {sick.why}", action, sick.service, needs=needs)


def _down(container: Container) -> Container:
    return replace(container, status="exited", exit_code=1, health="")
