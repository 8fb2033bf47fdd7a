"""Alerts as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Delivery:
    """One message on one way. `status` is HTTP's or a command's, None where nothing answered; `to` names the host."""

    way: str  # webhook, command, ping
    to: str
    ok: bool
    status: int | None
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class AlertCheck:
    """One look: what is wrong, since when (UTC), and what was told."""

    healthy: bool
    problems: tuple[KnownProblem, ...]
    message: str  # what was sent, "" where nothing had changed
    sent: tuple[Delivery, ...]
    notes: tuple[str, ...] = ()
    tells: bool = True  # whether the stack file names somebody to tell


@dataclass(frozen=True)
class KnownProblem:
    """Something wrong. Times are the droplet's clock in seconds; `told` 0 while nobody was told."""

    key: str
    text: str
    next: str
    since: float
    told: float


@dataclass(frozen=True)
class AlertTest:
    """Whether messages arrive: one delivery a way, sent from where opsctl ran."""

    deliveries: tuple[Delivery, ...]
    notes: tuple[str, ...] = ()
