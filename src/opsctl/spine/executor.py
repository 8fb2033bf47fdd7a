"""Runs a plan: steps begin when what they need is done, failures stop or undo, everything is reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, Interrupted, OpsError, StepFailed
from opsctl.model.events import Event, Outcome, RunEnded, RunStarted, StepEnded, StepStarted, StepWaiting
from opsctl.model.plan import Plan, Step
from opsctl.model.run import OnFailure, RunResult, StepResult
from opsctl.spine.batch import Batch, Verdict
from opsctl.spine.means import Means
from opsctl.spine.undo import take_back

_WORKERS = 8
_SLICE = 0.2  # s; how late Ctrl-C may be noticed while steps run
_UNDO_BOUND = 120.0  # s
INTERRUPTED = "interrupted"  # the detail of a step that was under way then
_GOOD = (Outcome.CHANGED, Outcome.UNCHANGED)
_POWERLESS = (ExitCode.UNREACHABLE, ExitCode.LEASED)  # no connection or no lease any more: nothing can be taken back


class Executor:
    """One run of one plan."""

    def __init__(self, plan: Plan, means: Means, *, run_id: str, on_failure: OnFailure, cancel: Cancel) -> None:
        self._plan = plan
        self._means = means
        self._run_id = run_id
        self._on_failure = on_failure
        self._outer = cancel
        self._cancel = cancel.child()  # ended by a failure too, so that what runs beside it gives up
        self._changed = threading.Condition()
        self._begun: dict[str, float] = {}
        self._results: dict[str, StepResult] = {}
        self._running: dict[Future[None], tuple[Step, ...]] = {}
        self._failed = False
        self._halted_before_end = True  # given up or interrupted, so that what was not begun is nobody's mistake
        self._bug: BaseException | None = None
        self._undone: list[str] = []

    def run(self) -> RunResult:
        """Do it all; failures and interrupts are in the result, only bugs are raised."""
        began = time.monotonic()
        self._emit(RunStarted(self._means.droplet, self._run_id, self._plan.command, len(self._plan.steps)))
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix=f"{self._means.droplet}: step") as pool:
            try:
                self._loop(pool)
            finally:
                self._cancel.cancel()  # nothing may be under way any more when the pool waits for its threads
        if self._bug is not None:
            raise self._bug
        if not self._halted_before_end and self._open():
            stuck = ", ".join(step.id for step in self._open())
            raise ValueError(f"a plan with steps that wait for what is not in it: {stuck}")
        self._skip_rest()
        self._undo()
        result = self._result(time.monotonic() - began)
        self._emit(RunEnded(self._means.droplet, self._run_id, result.exit_code is ExitCode.DONE, result.seconds))
        return result

    # Going through the plan

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        with self._changed:
            while True:
                self._skip_blocked()
                if not self._halted:
                    for steps in self._ready():
                        self._launch(pool, steps)
                elif self._running:
                    self._cancel.cancel()
                if not self._running:
                    self._halted_before_end = self._halted
                    return
                self._changed.wait(_SLICE)

    @property
    def _halted(self) -> bool:
        return self._failed or self._bug is not None or self._cancel.done

    def _open(self) -> list[Step]:
        return [step for step in self._plan.steps if step.id not in self._results and step.id not in self._begun]

    def _ready(self) -> list[tuple[Step, ...]]:
        groups: dict[str, list[Step]] = {}
        for step in self._open():
            if self._may_begin(step):
                together = self._means.handlers[step.action.kind].together
                groups.setdefault(step.action.kind if together else step.id, []).append(step)
        return [tuple(group) for group in groups.values()]

    def _may_begin(self, step: Step) -> bool:
        good = all(need in self._results and self._results[need].outcome in _GOOD for need in step.needs)
        return good and all(each in self._results for each in after(step))

    def _skip_blocked(self) -> None:
        """End what can never begin; a chain of needs falls in one go, because the plan is in their order."""
        for step in self._open():
            lost = [n for n in step.needs if n in self._results and self._results[n].outcome not in _GOOD]
            if lost:
                why = self._results[lost[0]]
                reason = self._not_begun(step) if self._outer.cancelled else f"not tried: {why.title} {_how(why)}"
                self._record(step, Verdict(Outcome.SKIPPED, reason))

    def _launch(self, pool: ThreadPoolExecutor, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self._begun[step.id] = time.monotonic()
            self._emit(StepStarted(self._means.droplet, step.id, step.title, step.service))
        self._running[pool.submit(self._do, steps)] = steps

    def _do(self, steps: tuple[Step, ...]) -> None:
        try:
            self._means.handlers[steps[0].action.kind].run(self._batch(steps, self._cancel))
            missing = [step for step in steps if step.id not in self._results]
            self.settle({s.id: Verdict(Outcome.FAILED, error=StepFailed(f"{s.title}: no outcome")) for s in missing})
        except Interrupted:
            self._end(steps, Outcome.SKIPPED, self._cut_short)
        except OpsError as error:
            self._fail(steps, error)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self._bug = error
        finally:
            with self._changed:
                for future in [each for each, group in self._running.items() if group is steps]:
                    del self._running[future]
                self._changed.notify_all()

    def _fail(self, steps: tuple[Step, ...], error: OpsError) -> None:
        """A failure of the whole batch is told once; the others' outcome is that it failed."""
        left = [step for step in steps if step.id not in self._results]
        verdicts = {step.id: Verdict(Outcome.FAILED, error.info.what, error) for step in left}
        self.settle(verdicts)

    def _end(self, steps: Iterable[Step], outcome: Outcome, detail: str) -> None:
        self.settle({step.id: Verdict(outcome, detail) for step in steps if step.id not in self._results})

    def _batch(self, steps: tuple[Step, ...], cancel: Cancel) -> Batch:
        means = self._means
        return Batch(steps, means.shell, self, cancel, means.journal, means.droplet, means.check)

    # The board: called from the pool's threads

    def settle(self, verdicts: Mapping[str, Verdict]) -> None:
        """As Board.settle. What failed and is tolerated is taken back first: the next must not compete with it."""
        steps = {step.id: step for step in self._plan.steps}
        for name, verdict in verdicts.items():
            if verdict.outcome is Outcome.FAILED and tolerated(steps[name]) and self._may_undo(verdict):
                self._take_back(self._to_undo({steps[name].service}))
        with self._changed:
            for name, verdict in verdicts.items():
                self._record(steps[name], verdict)
            self._changed.notify_all()

    def waiting(self, step: Step, state: str) -> None:
        """As Board.waiting."""
        self._emit(StepWaiting(self._means.droplet, step.id, state, step.service))

    def emit(self, event: Event) -> None:
        """As Board.emit."""
        self._emit(event)

    def _record(self, step: Step, verdict: Verdict) -> None:
        seconds = time.monotonic() - self._begun[step.id] if step.id in self._begun else 0.0
        error = verdict.error
        self._results[step.id] = StepResult(
            id=step.id,
            title=step.title,
            kind=step.action.kind,
            service=step.service,
            phase=step.phase,
            outcome=verdict.outcome,
            seconds=round(seconds, 3),
            detail=verdict.detail,
            error=error.info if error is not None else None,
            exit_code=error.exit_code
            if error is not None
            else ExitCode.FAILED
            if verdict.outcome is Outcome.FAILED
            else ExitCode.DONE,
            diagnosis=verdict.diagnosis,
        )
        if verdict.outcome is Outcome.FAILED and not tolerated(step):
            self._failed = True
        self._emit(StepEnded(self._means.droplet, step.id, verdict.outcome, seconds, verdict.detail, step.service))

    def _emit(self, event: Event) -> None:
        self._means.reporter.emit(event)

    # The end

    def _skip_rest(self) -> None:
        for step in self._plan.steps:
            if step.id not in self._results:
                begun = step.id in self._begun or not self._outer.cancelled
                self._record(step, Verdict(Outcome.SKIPPED, self._cut_short if begun else self._not_begun(step)))

    def _not_begun(self, step: Step) -> str:
        """After an interrupt: apart for a service of which nothing was begun, and for the rest of one."""
        begun = any(
            each.id in self._begun for each in self._plan.steps if step.service and each.service == step.service
        )
        return "not tried: interrupted" if begun else "not begun: interrupted"

    @property
    def _cut_short(self) -> str:
        return INTERRUPTED if self._outer.cancelled else "given up: another step failed"

    def _undo(self) -> None:
        """Take back the failed services' own steps (stop), everything that this run did (rollback), or nothing."""
        failed = [result for result in self._results.values() if result.outcome is Outcome.FAILED]
        powerless = any(result.exit_code in _POWERLESS for result in failed)
        if not failed or powerless or self._on_failure == "keep" or self._outer.cancelled:
            return
        everything = self._on_failure == "rollback" and any(not tolerated(self._step(each.id)) for each in failed)
        services = {result.service for result in failed if result.service}
        self._take_back(self._to_undo(None if everything else services))

    def _may_undo(self, verdict: Verdict) -> bool:
        lost = verdict.error is not None and verdict.error.exit_code in _POWERLESS
        return self._on_failure != "keep" and not self._outer.cancelled and not lost

    def _to_undo(self, services: set[str] | None) -> list[Step]:
        """What was begun for these services (None: for all), the last first."""
        kept = (Outcome.UNCHANGED, Outcome.SKIPPED)
        return [
            step
            for step in reversed(self._plan.steps)
            if step.undo is not None
            and step.id in self._begun
            and step.id not in self._undone
            and (step.id not in self._results or self._results[step.id].outcome not in kept)
            and (services is None or step.service in services)
        ]

    def _take_back(self, steps: list[Step]) -> None:
        self._undone += take_back(steps, self._batch, self._means, self._outer.child(_UNDO_BOUND))

    def _step(self, name: str) -> Step:
        return next(step for step in self._plan.steps if step.id == name)

    def _result(self, seconds: float) -> RunResult:
        return RunResult(
            run_id=self._run_id,
            plan_id=self._plan.id,
            command=self._plan.command,
            steps=tuple(self._results[step.id] for step in self._plan.steps),
            seconds=round(seconds, 3),
            interrupted=self._outer.signum if self._outer.cancelled else None,
            undone=tuple(self._undone),
        )


def after(step: Step) -> tuple[str, ...]:
    """The steps that must be over before this one begins, whatever their outcome."""
    names: tuple[str, ...] = getattr(step.action, "after", ())
    return names


def tolerated(step: Step) -> bool:
    """Whether the run goes on when this step fails."""
    return bool(getattr(step.action, "optional", False))


def _how(result: StepResult) -> str:
    return "failed" if result.outcome is Outcome.FAILED else "was skipped"
