"""What a handler of steps is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, PlanMoved, StepFailed
from opsctl.model.events import Event, Outcome
from opsctl.model.operate import Diagnosis
from opsctl.model.plan import GuardFact, Step
from opsctl.model.ports import Completed, Script, Shell
from opsctl.spine.journal import MOVED, NO_JOURNAL, bash_said, chain, wrap


@dataclass(frozen=True)
class Verdict:
    """How a step ended."""

    outcome: Outcome
    detail: str = ""
    error: OpsError | None = None
    diagnosis: Diagnosis | None = None


class Board(Protocol):
    """Where handlers report; the executor's side of a batch."""

    def settle(self, verdicts: Mapping[str, Verdict]) -> None:
        """End steps, all at once: what waits for them sees them together. May turn a success into a failure later."""
        ...

    def waiting(self, step: Step, state: str) -> None:
        """Tell the last state seen."""
        ...

    def emit(self, event: Event) -> None:
        """Tell anything else."""
        ...


@dataclass(frozen=True)
class Batch:
    """Steps of one kind that became ready together, and the means to do them."""

    steps: tuple[Step, ...]
    shell: Shell
    board: Board
    cancel: Cancel
    journal: str  # "" where nothing is changed
    droplet: str
    check: Callable[[Sequence[GuardFact]], Script]  # a script that ends with MOVED when a fact does not hold

    def done(self, step: Step, outcome: Outcome, detail: str = "") -> None:
        """End one step."""
        self.board.settle({step.id: Verdict(outcome, detail)})

    def failed(self, name: str, error: OpsError, diagnosis: Diagnosis | None = None) -> None:
        """End a step as failed, also one of another batch whose success did not last."""
        self.board.settle({name: Verdict(Outcome.FAILED, error.info.what, error, diagnosis)})

    def change(self, script: Script, *, timeout: float, proves: tuple[str, ...] = ()) -> Completed:
        """Run a script that changes something: guards and journal travel with it, in one round trip.

        Guards of the kinds that the script itself `proves` are not read twice. Raises PlanMoved when a guard does
        not hold any more; the exit status is not judged otherwise.
        """
        answer = self.shell.run(self._guarded(script, proves), cancel=self.cancel, timeout=timeout)
        if answer.code == MOVED:
            raise PlanMoved(
                "the droplet is not as it was when this was planned",
                why=answer.error_text or "a guard does not hold any more",
                next="run it again: it plans anew from what is there now",
            )
        if answer.code == NO_JOURNAL:
            raise StepFailed(
                "the journal cannot be written, and so nothing was changed",
                why=bash_said(answer.error_text) or f"exit status {answer.code}",
                next=f"on the droplet: df -h {self.journal.rpartition('/')[0]}",
                code="no-journal",
            )
        return answer

    def watch(self, script: Script, *, timeout: float) -> Iterator[str]:
        """Stream a script that only reads; what it waited for is in the journal where there is one."""
        if self.journal:
            script = wrap(script, self.journal, steps=self._ids, kind=self.steps[0].action.kind)
        return self.shell.stream(script, cancel=self.cancel, timeout=timeout)

    def read(self, script: Script, *, timeout: float, cancel: Cancel | None = None) -> Completed:
        """Run a script that only reads."""
        return self.shell.run(script, cancel=cancel or self.cancel, timeout=timeout)

    @property
    def _ids(self) -> tuple[str, ...]:
        return tuple(step.id for step in self.steps)

    def _guarded(self, script: Script, proves: tuple[str, ...]) -> Script:
        every = dict.fromkeys(guard for step in self.steps for guard in step.guards)
        guards = tuple(guard for guard in every if guard.fact not in proves)
        whole = chain(self.check(guards), script) if guards else script
        return wrap(whole, self.journal, steps=self._ids, kind=self.steps[0].action.kind) if self.journal else whole


@dataclass(frozen=True)
class Handler:
    """How one kind of action is done; `together` hands all steps of the kind that are ready to one call."""

    run: Callable[[Batch], None]
    together: bool = False
