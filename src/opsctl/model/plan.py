"""What would be done, as data: the same object is shown, hashed and executed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Action:
    """Base of all typed actions; subclasses are frozen dataclasses of plain JSON values."""

    kind: ClassVar[str] = ""

    def to_json(self) -> dict[str, Any]:
        """The action as data, its kind included."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class GuardFact:
    """A fact that must still hold right before the step: e.g. ("container-id", "postgres", "3f2a…")."""

    fact: str
    subject: str
    value: str


@dataclass(frozen=True)
class Step:
    """One step: `needs` names the steps that must have succeeded before it may begin."""

    id: str
    title: str
    action: Action
    service: str = ""
    phase: int = 0
    needs: tuple[str, ...] = ()
    guards: tuple[GuardFact, ...] = ()
    undo: Action | None = None
    destructive: bool = False

    def to_json(self) -> dict[str, Any]:
        """The step as data."""
        return {
            "id": self.id,
            "title": self.title,
            "service": self.service,
            "phase": self.phase,
            "action": self.action.to_json(),
            "needs": list(self.needs),
            "guards": [asdict(guard) for guard in self.guards],
            "undo": self.undo.to_json() if self.undo else None,
            "destructive": self.destructive,
        }


@dataclass(frozen=True)
class Plan:
    """The steps of one run on one droplet, in an order that respects `needs`."""

    command: str
    steps: tuple[Step, ...]

    SCHEMA: ClassVar[str] = "opsctl.plan/1"

    @property
    def id(self) -> str:
        """A hash of steps and guards: two plans with the same id do the same."""
        text = json.dumps([step.to_json() for step in self.steps], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """The plan as data."""
        return {
            "schema": self.SCHEMA,
            "id": self.id,
            "command": self.command,
            "steps": [s.to_json() for s in self.steps],
        }
