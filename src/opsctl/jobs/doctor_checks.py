"""One check of `doctor`: what was looked at, what was found, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass, field

from opsctl.model.errors import ErrorInfo, ExitCode, OpsError
from opsctl.model.examination import Check, Verdict


@dataclass
class Area:
    """Collects the checks of one area."""

    name: str
    checks: list[Check] = field(default_factory=list)

    def ok(self, name: str, detail: str) -> None:
        """As it should be."""
        self.checks.append(Check(self.name, name, Verdict.OK, detail))

    def warning(self, name: str, detail: str, mend: str) -> None:
        """Works, but will hurt."""
        self.checks.append(Check(self.name, name, Verdict.WARNING, detail, mend))

    def failed(self, name: str, detail: str, mend: str, code: ExitCode = ExitCode.GATE) -> None:
        """Does not work."""
        self.checks.append(Check(self.name, name, Verdict.FAILED, detail, mend, code))

    def unknown(self, name: str, detail: str, mend: str = "") -> None:
        """Could not be looked at."""
        self.checks.append(Check(self.name, name, Verdict.UNKNOWN, detail, mend))

    def error(self, name: str, error: OpsError | ErrorInfo, code: ExitCode | None = None) -> None:
        """Failed, in the words of an error."""
        info = error.info if isinstance(error, OpsError) else error
        found = code or (error.exit_code if isinstance(error, OpsError) else ExitCode.FAILED)
        where = f"{info.path}:{info.line}: " if info.path and info.line else ""
        detail = f"{where}{info.what}: {info.why}" if info.why else f"{where}{info.what}"
        self.failed(name, detail, info.next, found)


def sections(text: str) -> dict[str, str]:
    """A script's output, cut at its `@@name` lines."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@@"):
            lines = found.setdefault(line[2:].strip(), [])
        else:
            lines.append(line)
    return {name: "\n".join(each).strip() for name, each in found.items()}


def version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: `v2.26.1-desktop` → (2, 26, 1)."""
    numbers = []
    for part in text.strip().lstrip("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
