"""What a job reports while it works."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a step ended."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Event:
    """Base of all events; `droplet` is the name in the stack file."""

    droplet: str


@dataclass(frozen=True)
class RunStarted(Event):
    """A run holds the lease and begins."""

    run_id: str
    command: str
    steps: int


@dataclass(frozen=True)
class PhaseStarted(Event):
    """A phase begins; sizes in bytes."""

    phase: int
    services: tuple[str, ...]
    needs: int
    reserve: int
    available: int


@dataclass(frozen=True)
class StepStarted(Event):
    """A step begins; `title` is what a person reads."""

    step: str
    title: str
    service: str = ""


@dataclass(frozen=True)
class StepWaiting(Event):
    """The last state seen while a step waits; emitted when the state changes."""

    step: str
    state: str
    service: str = ""


@dataclass(frozen=True)
class StepEnded(Event):
    """A step is over; `seconds` is its own time."""

    step: str
    outcome: Outcome
    seconds: float
    detail: str = ""
    service: str = ""


@dataclass(frozen=True)
class Note(Event):
    """Something worth saying that changes nothing. `level` is info or warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class RunEnded(Event):
    """A run is over."""

    run_id: str
    ok: bool
    seconds: float
