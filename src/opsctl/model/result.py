"""What a command hands to the renderer: one entry a droplet, always a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from opsctl.model.errors import ErrorInfo, ExitCode, worst

T = TypeVar("T")


@dataclass(frozen=True)
class DropletResult(Generic[T]):
    """How one droplet fared: a result, an error, or both (what was done before it failed)."""

    name: str
    result: T | None
    error: ErrorInfo | None = None
    exit_code: ExitCode = ExitCode.DONE

    @property
    def ok(self) -> bool:
        """Whether this droplet's part succeeded."""
        return self.exit_code is ExitCode.DONE


@dataclass(frozen=True)
class CommandResult(Generic[T]):
    """The whole outcome of one command over its droplets."""

    droplets: tuple[DropletResult[T], ...]

    @property
    def exit_code(self) -> ExitCode:
        """PARTIAL when some droplets fared well and others did not, unless something weightier holds."""
        codes = {droplet.exit_code for droplet in self.droplets}
        if len(codes) > 1 and ExitCode.DONE in codes:
            codes.add(ExitCode.PARTIAL)
        return worst(codes)
