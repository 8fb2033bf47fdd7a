"""Who holds a droplet's leases, waiting for one, and taking one away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, Interrupted, LeaseHeld, OpsError, StepFailed, UsageError
from opsctl.model.events import Outcome, StepEnded, StepStarted, StepWaiting
from opsctl.model.lease import LeaseBreak, LeaseReport, LeaseState
from opsctl.model.ports import Reporter, Shell
from opsctl.model.units import show_duration
from opsctl.spine import audit, breaking, holders
from opsctl.spine.audit import Entry

T = TypeVar("T")

_READ_TIMEOUT = 15.0  # s
_BREAK_TIMEOUT = 30.0
_STEP = "lease"
_EVERY = 1.0  # s between two looks at a held lease
_SAY_EVERY = 15.0


def read(shell: Shell, state_dir: str, *, cancel: Cancel) -> LeaseReport:
    """Every lease there is; takes none."""
    answer = shell.run(holders.read(state_dir), cancel=cancel, timeout=_READ_TIMEOUT)
    return LeaseReport(holders.parse(answer.text))


def of_scope(report: LeaseReport, scope: str) -> LeaseState:
    """One lease; free where it was never taken. Raises UsageError for a scope that nobody ever had."""
    found = next((each for each in report.leases if each.scope == scope), None)
    if found is None:
        names = ", ".join(each.scope for each in report.leases)
        raise UsageError(f"there is no lease {scope}", why=f"there is {names}", next="opsctl lease show")
    return found


def describe(state: LeaseState) -> str:
    """`ann from laptop: `opsctl startup`, for 3 min 05 s, run 2026…`."""
    who = f"{state.user or 'somebody'} from {state.origin}" if state.origin else state.user or "somebody"
    since = "since before the host's last start"
    if state.this_boot:
        since = f"for {show_duration(state.seconds)}" if state.seconds is not None else "for an unknown time"
    parts = [f"`{state.command}`" if state.command else "an unknown command", since]
    return f"{who}: {', '.join([*parts, *([f'run {state.run}'] if state.run else [])])}"


@dataclass(frozen=True)
class Patience:
    """How long to wait for a held lease, and to whom it is told; `seconds` 0 is not at all."""

    seconds: float
    droplet: str
    state_dir: str
    reporter: Reporter

    def over(self, attempt: Callable[[], T], shell: Shell, *, cancel: Cancel) -> T:
        """Do it as soon as nobody holds the lease; each attempt plans anew. Raises LeaseHeld when time is up."""
        bound: Cancel | None = None  # from when it was first refused: connecting and planning take their own time
        while True:
            try:
                return attempt()
            except LeaseHeld as held:
                if self.seconds <= 0:
                    raise
                bound = bound or cancel.child(self.seconds)
                self._wait(shell, held, bound)

    def _wait(self, shell: Shell, held: LeaseHeld, bound: Cancel) -> None:
        began, said = time.monotonic(), -_SAY_EVERY
        self.reporter.emit(StepStarted(self.droplet, _STEP, f"wait for the lease of {self.droplet}"))

        def over(outcome: Outcome, detail: str) -> None:
            self.reporter.emit(StepEnded(self.droplet, _STEP, outcome, time.monotonic() - began, detail))

        try:
            while (state := self._held(shell, held.scope, bound)) is not None:
                if time.monotonic() - began - said >= _SAY_EVERY:
                    said = time.monotonic() - began
                    self.reporter.emit(StepWaiting(self.droplet, _STEP, f"the lease is held by {describe(state)}"))
                if bound.wait(_EVERY):
                    bound.check()
        except DeadlineExceeded:
            if not bound.expired:
                over(Outcome.FAILED, "the droplet did not answer")
                raise
            over(Outcome.FAILED, f"still held after {show_duration(self.seconds)}")
            why = f"{held.info.why}; waited {show_duration(self.seconds)} for it"
            raise LeaseHeld(held.info.what, why=why, next=held.info.next.partition("   (")[0]) from None
        except Interrupted as stopped:
            over(Outcome.SKIPPED, "interrupted")
            raise Interrupted(
                "interrupted while waiting for the lease",
                signum=int(stopped.exit_code) - 128,
                why="nothing was begun",
                next=f"opsctl lease show -d {self.droplet}",
            ) from None
        except OpsError as error:
            over(Outcome.FAILED, error.info.what)
            raise
        over(Outcome.UNCHANGED, "the lease is free")

    def _held(self, shell: Shell, scope: str, bound: Cancel) -> LeaseState | None:
        """The lease while somebody has it."""
        report = read(shell, self.state_dir, cancel=bound)
        return next((each for each in report.leases if each.scope == scope and each.state == "held"), None)


_REFUSALS = {
    breaking.OTHER: ("somebody else has the lease by now", "it changed hands since you looked"),
    breaking.STUBBORN: ("the holder's processes could not be ended", "they ignore even SIGKILL: the disk may hang"),
    breaking.FORBIDDEN: ("the holder's processes belong to another user", "only root or that user may end them"),
}
_NEXT = {
    breaking.OTHER: "opsctl lease show",
    breaking.STUBBORN: "opsctl recover   (what cannot be killed needs a reboot)",
    breaking.FORBIDDEN: "log in as root: `docker: {sudo: always}` or `address: root@…` in the stack file",
}


def break_lease(
    shell: Shell, before: LeaseState, entry: Entry, reason: str, *, state_dir: str, cancel: Cancel
) -> LeaseBreak:
    """End the holder that was shown, with all it runs on the host, and write that into the audit.

    What is free stays free. Raises StepFailed when it has changed hands or cannot be ended.
    """
    if before.state == "free":
        return LeaseBreak(before, False, reason)
    outcome = "broken" if before.state == "held" else "abandoned"
    by = f"{entry.actor.user} from {entry.actor.origin}: {reason}"
    victim = {"run": before.run or "unknown", "user": before.user, "command": before.command}
    lines = (
        audit.begin(entry),
        audit.abandoned(victim, entry.run_id, outcome=outcome, detail=by),
        audit.end(entry.run_id, outcome="done", exit_code=0, seconds=0, detail=f"broke run {victim['run']}: {reason}"),
    )
    script = breaking.script(
        state_dir,
        before.scope,
        run=before.run,
        user=entry.actor.user,
        origin=entry.actor.origin,
        reason=reason,
        lines=lines,
    )
    answer = shell.run(script, cancel=cancel, timeout=_BREAK_TIMEOUT)
    if answer.code == breaking.GONE:
        return LeaseBreak(before, False, reason)
    if answer.code != 0:
        what, why = _REFUSALS.get(answer.code, ("the lease could not be broken", answer.error_text))
        raise StepFailed(what, why=why, next=_NEXT.get(answer.code, "opsctl lease show"), code="lease-not-broken")
    ended = 0
    with suppress(ValueError):
        ended = int(answer.text.strip() or 0)
    return LeaseBreak(before, True, reason, ended)


def holding(shell: Shell, state_dir: str, *, cancel: Cancel) -> frozenset[str]:
    """The runs that hold a lease right now; none where nobody can be asked."""
    with suppress(OpsError):
        return frozenset(each.run for each in read(shell, state_dir, cancel=cancel).leases if each.state == "held")
    return frozenset()
