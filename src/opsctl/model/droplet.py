"""What `opsctl droplet` says: droplets as their provider knows them, what a change costs, what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.model.cloud import CloudAction, CloudDroplet, CloudRecord, CloudSize, CloudSnapshot, CloudVolume
from opsctl.model.run import RunResult


@dataclass(frozen=True)
class Listed:
    """A droplet of the account; `stack` is its name in the stack file, "" where it is not in it."""

    stack: str
    droplet: CloudDroplet


@dataclass(frozen=True)
class Shown:
    """One droplet with everything that hangs on it. US dollars a month."""

    droplet: CloudDroplet
    actions: tuple[CloudAction, ...]
    volumes: tuple[CloudVolume, ...]
    snapshots: tuple[CloudSnapshot, ...]
    snapshots_price: float


@dataclass(frozen=True)
class Offered:
    """The sizes that one droplet could have, the cheapest first."""

    droplet: CloudDroplet
    sizes: tuple[CloudSize, ...]


@dataclass(frozen=True)
class Cost:
    """What something costs, US dollars a month. `most` says that it may be less."""

    what: str
    price: float
    most: bool = False


@dataclass(frozen=True)
class CloudChanged:
    """What was done through the provider, or with `dry_run` would be. `droplet` is how it was left, if it was read."""

    dry_run: bool
    plan: Mapping[str, Any]
    notes: tuple[str, ...]
    costs: tuple[Cost, ...]
    run: RunResult | None
    droplet: CloudDroplet | None


@dataclass(frozen=True)
class Names:
    """DNS records, and what could be put back."""

    records: tuple[CloudRecord, ...]
    kept: tuple[KeptRecord, ...]


@dataclass(frozen=True)
class KeptRecord:
    """What a record was before opsctl changed it. `before` None: there was none; `after` is what it was set to."""

    at: str  # UTC, ISO 8601
    run: str
    before: CloudRecord | None
    after: CloudRecord


@dataclass(frozen=True)
class Advice:
    """One rule for a larger droplet: whether it speaks for one. None: not enough is known."""

    rule: str
    speaks: bool | None
    text: str
    missing: str = ""


@dataclass(frozen=True)
class SizeAdvice:
    """Whether the droplet is too small, and what the next size is. US dollars a month."""

    rules: tuple[Advice, ...]
    size: str
    price: float
    next_size: str
    next_memory: int
    next_price: float
    verdict: str
    command: str  # "" where there is nothing to do
