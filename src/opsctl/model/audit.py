"""What was done to a droplet, by whom and with what outcome, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RunOutcome = Literal["done", "failed", "interrupted", "abandoned", "broken", "running"]


@dataclass(frozen=True)
class AuditRun:
    """One run. Times are UTC by the clock of whoever wrote the line: the droplet, or this machine (`where` here).

    `abandoned`: it never said how it ended; `closed_by` is the run that noticed, "" where nobody has yet. `broken`:
    somebody took its lease away.
    """

    run: str
    at: str
    outcome: RunOutcome
    command: str
    user: str = ""
    origin: str = ""
    login: str = ""  # the droplet's user that it worked as
    plan: str = ""
    opsctl: str = ""
    name: str = ""
    under: str = ""  # the run of which it was a step
    exit_code: int | None = None
    seconds: float | None = None
    detail: str = ""
    closed_by: str = ""
    where: Literal["droplet", "here"] = "droplet"


@dataclass(frozen=True)
class JournalStep:
    """One step of a run by its journal. `ended` is its outcome, or how far it came."""

    id: str
    title: str
    ended: str
    detail: str = ""


@dataclass(frozen=True)
class AuditReport:
    """The runs on a droplet, the oldest first; with `--run` that run's steps. `more` older runs were left out.

    `before` runs are older than the `since` that was asked for, and not counted in `more`.
    """

    runs: tuple[AuditRun, ...]
    more: int = 0
    steps: tuple[JournalStep, ...] = ()
    since: str = ""
    before: int = 0
