"""What `doctor` found, check by check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from opsctl.model.errors import ExitCode, worst


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """`exit_code` is what opsctl exits with when this check failed: 4 unreachable, 3 configuration, 7 a probe."""

    area: str
    name: str
    verdict: Verdict
    detail: str
    mend: str = ""
    exit_code: ExitCode = ExitCode.DONE


@dataclass(frozen=True)
class Examination:
    """All checks of one droplet."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> ExitCode:
        """0 unless a check failed."""
        return worst(each.exit_code for each in self.checks)
