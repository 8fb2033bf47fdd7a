"""What a run works with on one droplet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opsctl.model.plan import GuardFact
from opsctl.model.ports import Reporter, Script, Shell
from opsctl.spine.batch import Handler


@dataclass(frozen=True)
class Means:
    """What an executor works with on one droplet."""

    droplet: str
    shell: Shell  # the guard where something changes, else the host
    handlers: Mapping[str, Handler]
    reporter: Reporter
    check: Callable[[Sequence[GuardFact]], Script]
    journal: str = ""
