"""What a run leaves behind: every step with its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from opsctl.model.errors import ErrorInfo, ExitCode, worst
from opsctl.model.events import Outcome
from opsctl.model.operate import Diagnosis

OnFailure = Literal["stop", "keep", "rollback"]


@dataclass(frozen=True)
class StepResult:
    """How one step ended; `seconds` is its own time."""

    id: str
    title: str
    kind: str
    service: str
    phase: int
    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""
    error: ErrorInfo | None = None
    exit_code: ExitCode = ExitCode.DONE
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `undone` names the steps that were taken back."""

    run_id: str
    plan_id: str
    command: str
    steps: tuple[StepResult, ...]
    seconds: float
    interrupted: int | None = None  # the signal
    undone: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The code that wins among the steps'."""
        codes = [step.exit_code for step in self.steps if step.outcome is Outcome.FAILED]
        return worst([*codes, ExitCode(128 + self.interrupted)] if self.interrupted else codes)

    @property
    def error(self) -> ErrorInfo | None:
        """The first failure that made the exit code."""
        code = self.exit_code
        return next((step.error for step in self.steps if step.error is not None and step.exit_code is code), None)

    def of(self, service: str) -> tuple[StepResult, ...]:
        """The steps of one service."""
        return tuple(step for step in self.steps if step.service == service)


@dataclass(frozen=True)
class ServiceReport:
    """How one service fared; `outcome` is None in a dry run. `seconds` from its start to its gate."""

    service: str
    phase: int
    outcome: Outcome | None
    seconds: float
    detail: str


@dataclass(frozen=True)
class Changed:
    """What a command that starts or stops services did, or with `dry_run` would do. Bytes."""

    dry_run: bool
    plan: Mapping[str, Any]
    notes: tuple[str, ...]
    services: tuple[ServiceReport, ...]
    run: RunResult | None
    memory_total: int
    memory_available: int
