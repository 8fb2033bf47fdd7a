"""Who may change a droplet right now, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LeaseState:
    """One lease of a droplet. `seconds` it has been held, by the host's uptime; None where that is not known.

    `abandoned`: free, but its last holder never gave it back; the next one closes that run in the audit.
    """

    scope: str
    state: Literal["held", "free", "abandoned"]
    run: str = ""
    user: str = ""
    origin: str = ""  # the machine the holder works from
    command: str = ""
    opsctl: str = ""
    seconds: float | None = None
    this_boot: bool = True  # whether it was taken since the host's last start
    pid: int = 0  # of the guard on the host


@dataclass(frozen=True)
class LeaseReport:
    """Every lease that was ever taken on a droplet; `stack` always."""

    leases: tuple[LeaseState, ...]


@dataclass(frozen=True)
class LeaseBreak:
    """What `lease break` found, and did about it. `ended` are the processes that had to be ended on the host."""

    before: LeaseState
    broken: bool
    reason: str
    ended: int = 0
