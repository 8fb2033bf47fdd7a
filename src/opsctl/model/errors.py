"""Exit codes, and errors that say what, why, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The documented exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    PARTIAL = 5
    LEASED = 6
    GATE = 7
    BUG = 70
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


# Where several hold at once, the first in this list is what the process exits with.
_PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
    ExitCode.HANGUP,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.LEASED,
    ExitCode.UNREACHABLE,
    ExitCode.GATE,
    ExitCode.PARTIAL,
    ExitCode.FAILED,
    ExitCode.DONE,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code that wins where several hold; DONE for none."""
    return min(codes, key=_PRECEDENCE.index, default=ExitCode.DONE)


@dataclass(frozen=True)
class ErrorInfo:
    """An error as data: the shape of `error` in every JSON document."""

    code: str
    what: str
    why: str = ""
    next: str = ""
    path: str | None = None
    line: int | None = None


class OpsError(Exception):
    """Something a person can act on: one line of what, one of why, one command to type next."""

    exit_code: ExitCode = ExitCode.FAILED
    code: str = "failed"

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        next: str = "",  # noqa: A002 - the contract's own word
        code: str | None = None,
        path: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(what)
        self.info = ErrorInfo(code or self.code, what, why, next, path, line)


class UsageError(OpsError):
    """Wrong arguments, or a name in argv that the stack does not have."""

    exit_code = ExitCode.USAGE
    code = "usage"


class ConfigError(OpsError):
    """The stack file or the compose file is missing or invalid."""

    exit_code = ExitCode.CONFIG
    code = "config"


class UnreachableError(OpsError):
    """Network, login, host key, engine down, or no right to use its socket."""

    exit_code = ExitCode.UNREACHABLE
    code = "unreachable"


class ConnectionLost(UnreachableError):
    """The connection broke while something was under way."""

    code = "connection-lost"


class LeaseHeld(OpsError):
    """Somebody else holds the lease of this droplet."""

    exit_code = ExitCode.LEASED
    code = "lease-held"
    scope = "stack"  # which lease


class LeaseBroken(OpsError):
    """The lease was taken away while something was under way; whatever ran there was ended."""

    exit_code = ExitCode.LEASED
    code = "lease-broken"


class GateFailed(OpsError):
    """A gate or probe did not pass."""

    exit_code = ExitCode.GATE
    code = "gate-failed"


class StepFailed(OpsError):
    """One step of a plan failed."""

    code = "step-failed"


class PlanMoved(OpsError):
    """What a plan stands on changed between showing it and running it."""

    code = "plan-moved"


class DeadlineExceeded(OpsError):
    """A bounded wait ran out."""

    code = "deadline"


class PartialFailure(OpsError):
    """Some items were done, others not."""

    exit_code = ExitCode.PARTIAL
    code = "partial"


def left_out(module: str) -> UsageError:
    """For what a droplet's own opsctl cannot do: it has only what runs there."""
    return UsageError(
        "this droplet's own opsctl cannot do that",
        why=f"`opsctl host install` puts only what runs on a droplet there: {module} is left out",
        next="run it on your laptop",
        code="left-out",
    )


class Interrupted(OpsError):
    """Ctrl-C, SIGTERM or SIGHUP; the exit code is 128 + signal."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"

    def __init__(self, what: str = "interrupted", *, signum: int = 2, why: str = "", next: str = "") -> None:  # noqa: A002
        super().__init__(what, why=why, next=next)
        self.exit_code = ExitCode(128 + signum)
