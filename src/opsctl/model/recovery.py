"""Bringing a droplet back: the rungs that were climbed, what was proved, what came back and what did not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from opsctl.model.errors import ErrorInfo
from opsctl.model.events import Outcome
from opsctl.model.run import RunResult
from opsctl.model.why import Why


class Rung(StrEnum):
    """How far `recover` may go; each includes those before it."""

    SERVICE = "service"
    FALLBACK = "fallback"
    REBOOT = "reboot"
    POWER_CYCLE = "power-cycle"


@dataclass(frozen=True)
class Climb:
    """One step of the ladder.

    `kind` is service, engine, engine-restart, fallback, reboot, cloud-reboot, power-cycle or start.
    """

    kind: str
    title: str
    outcome: Outcome | None  # None in a dry run
    detail: str
    seconds: float = 0.0
    run: RunResult | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class Criterion:
    """One thing that must hold. `level` is minimum or optimal; `ok` None could not be measured."""

    name: str
    level: str
    wanted: str
    seen: str
    ok: bool | None


@dataclass(frozen=True)
class Missing:
    """A service that did not come back, why, and what to type."""

    service: str
    why: str
    next: str


@dataclass(frozen=True)
class Recovery:
    """How it went on one droplet. Seconds; boot ids are "" where they are unknown."""

    droplet: str
    dry_run: bool
    recovered: bool
    climbs: tuple[Climb, ...]
    criteria: tuple[Criterion, ...]
    back: tuple[str, ...]  # services that are up at the end
    missing: tuple[Missing, ...]
    stopped: tuple[str, ...]  # services that were stopped to make room, and stay so
    before: Why | None
    unreachable: ErrorInfo | None  # why the droplet could not be asked at first
    after: Why | None
    boot_before: str
    boot_after: str
    ended: str  # why the ladder was not climbed further; "" where it was not needed
    advice: tuple[str, ...]
    seconds: float
