"""What runs on a droplet by itself, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.model.run import RunResult


@dataclass(frozen=True)
class CronJob:
    """One job: an opsctl command and when it runs. Seconds."""

    name: str
    help: str
    words: tuple[str, ...]  # after `opsctl`
    every: int  # 0: once a day, at `at`
    at: str  # HH:MM (UTC where the droplet's clock is), "" with `every`
    deadline: int
    jitter: int

    @property
    def when(self) -> str:
        """In words."""
        return f"every {self.every // 60} min" if self.every else f"daily at {self.at}"


@dataclass(frozen=True)
class CronState:
    """One job on one droplet. `outcome` of the last run: done, skipped, failed, deadline, or "" for none."""

    job: str
    help: str
    when: str
    command: str
    installed: str  # systemd, cron, or ""
    active: bool  # whether it will really run
    last: str  # UTC, ISO 8601
    outcome: str
    exit_code: int | None
    seconds: float | None
    said: str
    next: str  # when it runs next, "" where nobody says


@dataclass(frozen=True)
class CronListed:
    """All jobs of one droplet, and what would run them there: systemd, cron, or ""."""

    scheduler: str
    opsctl: str  # the version there, "" without
    jobs: tuple[CronState, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CronRun:
    """One run, now."""

    job: str
    command: str
    outcome: str
    seconds: float
    output: str


@dataclass(frozen=True)
class CronChanged:
    """What `cron install` and `cron remove` did, or with `dry_run` would do."""

    dry_run: bool
    plan: Mapping[str, Any]
    notes: tuple[str, ...]
    jobs: tuple[str, ...]
    run: RunResult | None
