"""The memory gate: does what starts next fit, and what would make room. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opsctl.jobs.startup_actions import MemoryGate
from opsctl.model.engine import Container
from opsctl.model.errors import GateFailed
from opsctl.model.stack import Redundant
from opsctl.model.units import show_size

_WORTH = 1_000_000  # bytes; less is not worth a suggestion


@dataclass(frozen=True)
class Room:
    """What stopping one service would give back, in bytes; `reason` is "" or why it is not missed."""

    service: str
    frees: int
    reason: str = ""


def fits(gate: MemoryGate, available: int) -> bool:
    """Whether what starts next and the reserve fit into what is available. Swap does not count."""
    return gate.needs + gate.reserve <= available


def arithmetic(gate: MemoryGate, available: int) -> str:
    """`needs 180 MB + reserve 200 MB, has 350 MB: 30 MB short`."""
    text = f"needs {show_size(gate.needs)} + reserve {show_size(gate.reserve)}, has {show_size(available)}"
    short = gate.needs + gate.reserve - available
    return f"{text}: {show_size(short)} short" if short > 0 else text


def parts(gate: MemoryGate) -> str:
    """Who is expected to use how much, and who says so."""
    return ", ".join(f"{each.service} {show_size(each.bytes)} ({each.source})" for each in gate.expected)


def rooms(
    running: Iterable[Container],
    needed: Iterable[str],
    used: Mapping[str, int],
    declared: Mapping[str, int],
    redundant: Mapping[str, Redundant],
) -> tuple[Room, ...]:
    """The running services that this run does not need: redundant ones first, then by what they free.

    `used` is measured, by container id; `declared` is what the stack file says, by service.
    """
    keep = set(needed)
    found = []
    for container in running:
        frees = used.get(container.id) or declared.get(container.service, 0)
        if container.status == "running" and container.service not in keep and frees >= _WORTH:
            known = redundant.get(container.service)
            found.append(Room(container.service, frees, known.reason if known else ""))
    return tuple(sorted(found, key=lambda room: (not room.reason, -room.frees)))


def refusal(what: str, gate: MemoryGate, available: int, room: tuple[Room, ...], retry: str) -> GateFailed:
    """The error of a gate that does not pass: the arithmetic, and what would make room."""
    short = gate.needs + gate.reserve - available
    return GateFailed(
        f"{what} does not fit: {arithmetic(gate, available)}",
        why=f"expected: {parts(gate)}",
        next=_advice(short, room, retry),
        code="no-memory",
    )


def _advice(short: int, room: tuple[Room, ...], retry: str) -> str:
    if not room:
        return f"nothing that could go is running; {retry} --ignore-memory starts it all the same"
    chosen: list[Room] = []
    for each in room:
        if sum(one.frees for one in chosen) >= short:
            break
        chosen.append(each)
    freed = sum(one.frees for one in chosen)
    text = f"opsctl stop {' '.join(one.service for one in chosen)}   # frees {show_size(freed)}"
    reasons = [f"{one.service}: {one.reason}" for one in chosen if one.reason]
    text += f" ({'; '.join(reasons)})" if reasons else ""
    return text if freed >= short else f"{text}, which is not enough; or {retry} --ignore-memory"
