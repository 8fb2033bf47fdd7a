"""Which services a call of `startup` is about, and in what state each of them is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from opsctl.model.engine import Container, StackFacts
from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.stack import Droplet, Service, Stack

COMPLETED = "service_completed_successfully"


@dataclass(frozen=True)
class Options:
    """What the user asked of `startup`. Seconds for `settle`."""

    phase: int | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    ignore_memory: bool = False
    settle: float = 0.0


def chosen(stack: Stack, options: Options) -> tuple[Service, ...]:
    """The services to bring up, by phase and then in the stack file's order.

    Raises UsageError for a name or a phase that the stack does not have.
    """
    known(stack, (*options.only, *options.skip))
    phased = [service for service in stack.services.values() if service.phase is not None]
    last = max((service.phase or 0 for service in phased), default=0)
    if options.phase is not None and not 1 <= options.phase <= max(last, 1):
        raise UsageError(
            f"the stack has no phase {options.phase}",
            why=f"its phases are 1 to {last}" if last > 1 else "its only phase is 1",
            next=f"opsctl startup --phase {last or 1}",
        )
    if options.only:
        wanted = [stack.services[name] for name in dict.fromkeys(options.only)]
    else:
        wanted = [service for service in phased if (service.phase or 0) <= (options.phase or last)]
    kept = [service for service in wanted if service.name not in options.skip]
    return tuple(sorted(kept, key=phase_of))


def known(stack: Stack, names: Iterable[str]) -> None:
    """Raise UsageError for a name that the stack does not have, with the nearest that it has."""
    for name in names:
        if name not in stack.services:
            near = get_close_matches(name, stack.services, n=1)
            raise UsageError(
                f"the stack has no service {name}",
                why=f"it has {', '.join(sorted(stack.services))}",
                next=f"did you mean {near[0]}?" if near else "opsctl status",
            )


def phase_of(service: Service) -> int:
    """Its phase; a service without one (--only) counts as the first."""
    return service.phase or 1


def one_shots(facts: StackFacts) -> frozenset[str]:
    """The services that are done when they exit with 0: others wait for their completion."""
    waits = (each.depends_on.items() for each in facts.compose.values())
    return frozenset(name for items in waits for name, condition in items if condition == COMPLETED)


def is_up(container: Container | None, *, one_shot: bool, has_gate: bool) -> bool:
    """Whether a service needs nothing: healthy, or running with nothing to ask, or done for good.

    Docker's own verdict counts, for it is about this start; a service that only has a gate of ours must be asked.
    """
    if container is None:
        return False
    if one_shot:
        return container.status == "exited" and container.exit_code == 0 and bool(container.finished_at)
    if container.status != "running":
        return False
    return container.health == "healthy" or (not container.health and not has_gate)


def is_running(container: Container | None) -> bool:
    """Whether there is nothing to start, though it may not answer yet."""
    return container is not None and container.status in ("running", "restarting")


def has_gate(service: Service) -> bool:
    """Whether the stack file says how to ask the service."""
    gate = service.gate
    return any(each is not None for each in (gate.http, gate.tcp, gate.sql, gate.command)) or bool(service.proof)


def to_create(facts: StackFacts, services: Sequence[Service]) -> tuple[str, ...]:
    """The services of these that have no container, and what compose will create along with them."""
    todo = [service.name for service in services if facts.of(service.name) is None]
    found: list[str] = []
    while todo:
        name = todo.pop(0)
        if name in found or name not in facts.compose or facts.of(name) is not None:
            continue
        found.append(name)
        todo += facts.compose[name].depends_on
    return tuple(found)


def startable(
    services: Sequence[Service], facts: StackFacts, droplet: Droplet, notes: list[str]
) -> tuple[Service, ...]:
    """Without the optional services whose image is missing, which is noted. Raises StepFailed for the others."""
    kept = []
    for service in services:
        lacking = sorted(name for name in to_create(facts, [service]) if name in facts.missing_images)
        if not lacking:
            kept.append(service)
        elif service.optional:
            notes.append(f"{service.name} is left out: the image of {', '.join(lacking)} is missing")
        else:
            raise _no_image(lacking, facts, droplet)
    return tuple(kept)


def _no_image(lacking: Sequence[str], facts: StackFacts, droplet: Droplet) -> StepFailed:
    images = ", ".join(facts.compose[name].image or f"{name} (built)" for name in lacking)
    verb = "build" if facts.compose[lacking[0]].has_build else "pull"
    files = " ".join(f"-f {path}" for path in facts.compose_files)
    return StepFailed(
        f"the image of {', '.join(lacking)} is not on {droplet.name}: {images}",
        why="startup neither pulls nor builds",
        next=f"on the droplet: docker compose {files} {verb} {' '.join(lacking)}",
        code="image-missing",
    )


def by_dependency(services: Sequence[Service], facts: StackFacts) -> list[Service]:
    """In the stack file's order, but never before what a service depends on."""
    left, names, ordered = list(services), {each.name for each in services}, list[Service]()
    while left:
        placed = {each.name for each in ordered}
        free = [each for each in left if not (_needed(each.name, facts) & names) - placed]
        ordered.append((free or left)[0])
        left.remove(ordered[-1])
    return ordered


def _needed(name: str, facts: StackFacts) -> set[str]:
    return set(facts.compose[name].depends_on) if name in facts.compose else set()
