"""What `migrate prune` removes, and what it leaves with the reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prunable:
    """A run's folder, or a version of opsctl that runs were begun with. `why` is the reason for it. Bytes."""

    name: str
    kind: str  # run, app
    migration: str
    state: str
    ended: str  # UTC, ISO 8601; "" where it cannot be told
    bytes: int
    why: str


@dataclass(frozen=True)
class Pruned:
    """`removed` is what would go where it is a dry run; `freed` its bytes."""

    keep_days: float
    removed: tuple[Prunable, ...]
    kept: tuple[Prunable, ...]
    freed: int
    dry_run: bool = False
