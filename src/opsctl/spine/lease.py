"""The right to change a droplet, with its audit lines: a context in which everything that changes happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, OpsError, StepFailed
from opsctl.model.ports import Guard, GuardSpec, Host
from opsctl.spine import audit
from opsctl.spine.journal import bash_said

_AUDIT_TIMEOUT = 15.0  # s
_LAST_WORDS = 3.0  # s; after Ctrl-C nobody wants to wait longer for a line in a log


class Lease:
    """A held lease. `outcome` is what the audit will say; set it before the block ends."""

    def __init__(self, guard: Guard, entry: audit.Entry, state_dir: str) -> None:
        self.guard = guard
        self.entry = entry
        self.state_dir = state_dir
        self.exit_code = ExitCode.DONE
        self.detail = ""
        self.tail = ""  # the journal's last line, if there is one

    @property
    def journal(self) -> str:
        """Where on the host the steps are written down."""
        return f"{self.state_dir}/runs/{self.entry.run_id}.jsonl"


@contextmanager
def hold(
    host: Host, entry: audit.Entry, *, scope: str, state_dir: str, cancel: Cancel, head: str = ""
) -> Iterator[Lease]:
    """Take a lease, write the audit's begin, and whatever happens its end; then give the lease back.

    A step of a run that has the lease works beside it. `head` is the journal's first line. A holder who never gave
    the lease back is closed as abandoned. Raises LeaseHeld, LeaseBroken, StepFailed.
    """
    guard = host.guard(GuardSpec(scope, entry.run_id, entry.holder(), entry.under), cancel=cancel)
    lease = Lease(guard, entry, state_dir)
    began = time.monotonic()
    try:
        _begin(lease, cancel, head)
        yield lease
    except BaseException as error:
        lease.exit_code, lease.detail = _verdict(error)
        raise
    finally:
        _end(lease, time.monotonic() - began)
        guard.release()


def _begin(lease: Lease, cancel: Cancel, head: str) -> None:
    lines = [audit.begin(lease.entry)]
    if lease.guard.abandoned is not None:
        lines.insert(0, audit.abandoned(lease.guard.abandoned, lease.entry.run_id))
    script = audit.append(lease.state_dir, tuple(lines), journal=lease.entry.run_id, line=head)
    answer = lease.guard.run(script, cancel=cancel, timeout=_AUDIT_TIMEOUT)
    if answer.code != 0:
        raise StepFailed(
            "the audit cannot be written, and so nothing was changed",
            why=bash_said(answer.error_text) or f"exit status {answer.code}",
            next=f"on the droplet: df -h {lease.state_dir}; ls -ld {lease.state_dir}",
            code="no-audit",
        )


def _end(lease: Lease, seconds: float) -> None:
    signalled = (ExitCode.INTERRUPTED, ExitCode.TERMINATED, ExitCode.HANGUP)
    outcome = "interrupted" if lease.exit_code in signalled else "failed" if lease.exit_code else "done"
    line = audit.end(
        lease.entry.run_id,
        outcome=outcome,
        exit_code=int(lease.exit_code),
        seconds=seconds,
        detail=lease.detail,
    )
    # The run's own token may be done by now, and a lost connection leaves the line to the next holder.
    with suppress(OpsError):
        script = audit.append(lease.state_dir, (line,), journal=lease.entry.run_id, line=lease.tail)
        lease.guard.run(script, cancel=Cancel(_LAST_WORDS), timeout=_LAST_WORDS)


def _verdict(error: BaseException) -> tuple[ExitCode, str]:
    if isinstance(error, OpsError):
        return error.exit_code, error.info.what
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED, "stopped at once"
    return ExitCode.BUG, type(error).__name__
