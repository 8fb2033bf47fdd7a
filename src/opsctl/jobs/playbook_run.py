"""Runs a playbook's steps in the order that their needs allow, asks people, and takes steps back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from opsctl.jobs.playbook_step import Desk, begin, ended, going_on, perform, said, undo
from opsctl.model.errors import ErrorInfo, ExitCode, Interrupted, OpsError, worst
from opsctl.model.events import Note
from opsctl.model.playbook import PlayStep
from opsctl.model.playbook_run import Mode, PlaybookReport, State, StepReport

Ask = Callable[[str], bool | None]
"""Puts a question to the person at the terminal: yes, no, or None where nobody is there."""

_WORKERS = 8
_SLICE = 0.2  # s; how late Ctrl-C may be noticed while steps run
_GOOD = ("changed", "unchanged", "approved", "skipped")
_DONE = ("changed", "unchanged", "approved")


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    report: PlaybookReport
    error: ErrorInfo | None
    exit_code: ExitCode


class Forward:
    """One run, or one more part of a run, from where it stands."""

    def __init__(self, desk: Desk, *, ask: Ask, approved: Collection[str], actor: tuple[str, str], mode: Mode) -> None:
        self._desk = desk
        self._ask = ask
        self._approved = approved
        self._actor = actor
        self._mode = mode
        self._changed = threading.Condition()
        self._reports: dict[str, StepReport] = {}
        self._running: dict[Future[None], PlayStep] = {}
        self._busy: set[str] = set()  # droplets on which something is changed now
        self._fatal: BaseException | None = None

    def run(self) -> Finished:
        """Until nothing is left, something failed, or a person is missing. Raises bugs only."""
        self._recall()
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="playbook") as pool:
            self._loop(pool)
        if self._fatal is not None and not isinstance(self._fatal, OpsError):
            raise self._fatal
        return self._finish()

    # What earlier parts of the run did

    def _recall(self) -> None:
        """Take over what is done, and look at it again where nothing has been built on it since."""
        past = self._desk.past
        for step in self._steps:
            outcome = past.ended.get(step.id, "")
            if outcome not in (*_DONE, "skipped"):
                continue
            detail = "was approved before" if outcome == "approved" else "was skipped before"
            if outcome in ("changed", "unchanged"):
                if step.probe and not self._built_on(step) and not self._still(step):
                    text = f"step {step.id} was done before, and is not so any more: it is done again"
                    self._desk.reporter.emit(Note(self._desk.places(step.droplet).droplet.name, text, "warning"))
                    continue
                detail = "was done before"
            status = "approved" if outcome == "approved" else "skipped" if outcome == "skipped" else "unchanged"
            self._reports[step.id] = ended(self._desk, self._desk.report(step, status, detail))  # type: ignore[arg-type]

    def _built_on(self, step: PlayStep) -> bool:
        past, book = self._desk.past, self._desk.playbook
        return any(
            step.id in book.before(other) and (other.id in past.order or past.ended.get(other.id) in _DONE)
            for other in self._steps
            if other.call is not None
        )

    def _still(self, step: PlayStep) -> bool:
        place = self._desk.places(step.droplet)
        return self._desk.checks.first_wrong(place, step.probe, patient=False) is None

    # Going through the steps

    @property
    def _steps(self) -> tuple[PlayStep, ...]:
        return self._desk.playbook.steps

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        with self._changed:
            while True:
                if not self._halted:
                    for step in self._ready():
                        self._launch(pool, step)
                if not self._running:
                    if self._halted or not self._approve():
                        return
                    continue
                self._changed.wait(_SLICE)

    @property
    def _halted(self) -> bool:
        bad = any(each.status in ("failed", "interrupted", "waiting") for each in self._reports.values())
        return bad or self._fatal is not None or self._desk.cancel.done

    def _open(self) -> list[PlayStep]:
        begun = {step.id for step in self._running.values()}
        return [step for step in self._steps if step.id not in self._reports and step.id not in begun]

    def _free(self, step: PlayStep) -> bool:
        return all(need in self._reports and self._reports[need].status in _GOOD for need in step.needs)

    def _ready(self) -> list[PlayStep]:
        """What may begin now: one change at a time on a droplet, and what takes one away quite alone."""
        chosen: list[PlayStep] = []
        for step in self._open():
            if step.approve or not self._free(step):
                continue
            spec = self._desk.jobs[step.call.job].spec if step.call else None
            name = self._desk.places(step.droplet).droplet.name
            taken = self._busy | {self._desk.places(each.droplet).droplet.name for each in chosen if each.call}
            if spec is not None and spec.away:
                if not self._running and not chosen:
                    return [step]
            elif self._alone() or (spec is not None and name in taken):
                continue
            else:
                chosen.append(step)
        return chosen

    def _alone(self) -> bool:
        return any(step.call and self._desk.jobs[step.call.job].spec.away for step in self._running.values())

    def _launch(self, pool: ThreadPoolExecutor, step: PlayStep) -> None:
        if step.call:
            self._busy.add(self._desk.places(step.droplet).droplet.name)
        self._running[pool.submit(self._do, step)] = step

    def _do(self, step: PlayStep) -> None:
        report: StepReport | None = None
        try:
            report = perform(self._desk, step)
        except BaseException as error:  # noqa: BLE001 - ends the run; bugs are raised by the main thread
            self._fatal = error
        finally:
            with self._changed:
                if report is not None:
                    self._reports[step.id] = report
                if step.call:
                    self._busy.discard(self._desk.places(step.droplet).droplet.name)
                for future in [each for each, running in self._running.items() if running is step]:
                    del self._running[future]
                self._changed.notify_all()

    # People

    def _approve(self) -> bool:
        """Ask about the first step that waits for a person; False where nothing can be begun any more."""
        step = next((each for each in self._open() if each.approve and self._free(each)), None)
        if step is None:
            return False
        desk = self._desk
        begin(desk, step)
        try:
            wrong = desk.checks.first_wrong(desk.places(step.droplet), step.precondition, patient=True)
            if wrong is not None and step.otherwise == "skip":
                desk.keeper.write(event="end", step=step.id, outcome="skipped")
                detail = f"not needed: {said(wrong)}"
                self._reports[step.id] = ended(desk, desk.report(step, "skipped", detail))
                return True
            if wrong is not None:
                raise OpsError(f"step {step.id} cannot be asked yet: {wrong.check}", why=wrong.seen, next=desk.again)
            answer = True if step.id in self._approved else self._ask(step.approve)
        except Interrupted:
            self._reports[step.id] = ended(desk, desk.report(step, "interrupted", "interrupted at the question"))
            return True
        except OpsError as error:
            desk.codes[step.id] = ExitCode.GATE
            self._reports[step.id] = ended(desk, desk.report(step, "failed", error.info.what, error=error.info))
            return True
        if answer:
            user, origin = self._actor
            desk.keeper.write(event="approved", step=step.id, user=user, origin=origin)
            self._reports[step.id] = ended(desk, desk.report(step, "approved", f"yes, says {user}"))
        else:
            why = "not approved" if answer is False else "nobody is there to be asked"
            self._reports[step.id] = ended(desk, desk.report(step, "waiting", f"{why}: {step.approve}"))
        return True

    # The end

    def _finish(self) -> Finished:
        desk = self._desk
        steps = tuple(self._reports.get(step.id, desk.report(step, "open")) for step in self._steps)
        waiting = next((each for each in steps if each.status == "waiting"), None)
        error: ErrorInfo | None
        state: State
        if desk.cancel.cancelled or any(each.status == "interrupted" for each in steps):
            signum = desk.cancel.signum
            cut = Interrupted("interrupted", signum=signum, why="what is done stays done", next=desk.again)
            state, error, code = "interrupted", cut.info, cut.exit_code
        elif isinstance(self._fatal, OpsError):
            state, error, code = "failed", going_on(self._fatal.info, desk.again), self._fatal.exit_code
        elif failures := [each for each in steps if each.status == "failed"]:
            code = worst(desk.codes.values())
            first = next((each for each in failures if desk.codes[each.id] is code), failures[0])
            state, error = "failed", first.error
        elif waiting is not None:
            text = f"step {waiting.id} waits for a person: {desk.playbook.step(waiting.id).approve}"
            state, code = "waiting", ExitCode.PARTIAL
            error = ErrorInfo("waiting", text, waiting.detail.partition(":")[0], f"{desk.again} --approve {waiting.id}")
        else:
            state, error, code = "done", None, ExitCode.DONE
        next_ = error.next.splitlines()[-1] if error and error.next else ""
        # What was only looked at, or was so before, needs no way back.
        back = (f"what it did is taken back with: {desk.back}",) if error and desk.past.candidates else ()
        report = replace(_report(desk, self._mode, state, steps, next_), notes=back)
        return Finished(report, error, code)


def roll_back(desk: Desk) -> Finished:
    """Take back what the run did, the latest step first; ends at the first that cannot be taken back."""
    reports: dict[str, StepReport] = {}
    for name in desk.past.candidates:
        reports[name] = undo(desk, desk.playbook.step(name))
        if reports[name].status in ("failed", "interrupted"):
            break
    steps = tuple(
        reports.get(
            step.id, desk.report(step, "open" if step.id in desk.past.candidates else "unchanged", _why(desk, step))
        )
        for step in reversed(desk.playbook.steps)
    )
    bad = next((each for each in steps if each.status in ("failed", "interrupted")), None)
    if bad is None:
        return Finished(_report(desk, "rollback", "rolled back", steps, ""), None, ExitCode.DONE)
    if bad.status == "interrupted":
        cut = Interrupted("interrupted", signum=desk.cancel.signum, why="the rest is not taken back", next=desk.again)
        return Finished(_report(desk, "rollback", "rolling back", steps, desk.again), cut.info, cut.exit_code)
    return Finished(_report(desk, "rollback", "rolling back", steps, desk.again), bad.error, desk.codes[bad.id])


def _why(desk: Desk, step: PlayStep) -> str:
    if step.id in desk.past.undone:
        return "was taken back before"
    return "" if step.id in desk.past.candidates else "this run changed nothing here"


def _report(desk: Desk, mode: Mode, state: State, steps: tuple[StepReport, ...], next_: str) -> PlaybookReport:
    book = desk.playbook
    return PlaybookReport(book.name, book.title, desk.run, mode, False, state, steps, next=next_)
