"""What a deploy may do, and what it plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opsctl.jobs.startup_plan import Planned
from opsctl.model.deploy import ServiceDiff

_BUILD_NEEDS = 400_000_000  # bytes; pip, npm and go take that much and more


@dataclass(frozen=True)
class Options:
    """What the user asked of a deploy. `phase` brings up that far; seconds for `settle`; bytes for `build_memory`."""

    pull: bool = False
    build: bool = False
    remove_orphans: bool = False
    ignore_memory: bool = False
    phase: int | None = None
    settle: float = 0.0
    build_memory: int = _BUILD_NEEDS
    remove_keys: bool = False
    data_moved: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeployPlan:
    """A plan with what it stands on and what is worth saying."""

    planned: Planned
    services: tuple[ServiceDiff, ...]
    orphans: tuple[str, ...]
    facts_services: Mapping[str, str] = field(default_factory=dict)  # service → why recreated
