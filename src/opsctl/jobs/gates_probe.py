"""Asking services until they answer, and saying why one does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from opsctl.jobs.startup_actions import AwaitGate
from opsctl.model.engine import ProbeSpec, ProbeState
from opsctl.model.errors import DeadlineExceeded, GateFailed, OpsError, StepFailed
from opsctl.model.events import Outcome
from opsctl.model.operate import Diagnosis, Operator
from opsctl.model.plan import Step
from opsctl.model.ports import Script
from opsctl.model.stack import Gate
from opsctl.spine.batch import Batch, Verdict

INTERVAL = 0.05  # s between two probes of a service: they cost no process, and the answer is at most that late
_SLACK = 20.0  # s beyond the longest deadline, for a host that is slow to start the loop
_DIAGNOSIS = 15.0  # s
_FRESH = 2.0  # s; an older reading of the memory is taken again
MEMINFO = Script(
    'while read -r w v _; do [ "$w" = MemAvailable: ] && printf \'@@available %s\\n\' "$v"; done </proc/meminfo; :'
)
_WORDS = {
    "exited": "it exited",
    "oom": "it was killed for memory",
    "restarting": "it crashes and is restarted",
    "unhealthy": "it is unhealthy",
    "gone": "its container is gone",
    "timeout": "it was not ready in time",
}


@dataclass(frozen=True)
class Watch:
    """What a probing loop looks at beside its own steps. `since` is the host's clock, in seconds."""

    since: str
    up: Mapping[str, str]  # service → container id
    settle: float = 0.0


@dataclass
class Seen:
    """What a run knows by now: what is up (service → container id), and the memory, in bytes, with its time."""

    up: dict[str, str]
    memory: tuple[int, float]

    def available(self, value: int) -> None:
        """Note a reading of MemAvailable."""
        self.memory = (value, time.monotonic())

    def read(self, engine: Operator, text: str) -> None:
        """Take over the reading in what MEMINFO printed; without one the last is known to be old."""
        self.outdated()
        for value in filter(None, map(engine.parse_available, text.splitlines())):
            self.available(value)

    def outdated(self) -> None:
        """Something happens now that uses memory or gives it back."""
        self.memory = (self.memory[0], float("-inf"))

    @property
    def old(self) -> bool:
        """Whether the memory is better read again."""
        return time.monotonic() - self.memory[1] > _FRESH


def spec(step: Step, container: str, ports: Mapping[int, tuple[str, int]]) -> ProbeSpec:
    """What to ask for a step's service."""
    action = step.action
    assert isinstance(action, AwaitGate)
    gate = Gate(action.http, action.tcp, action.sql, action.command, action.status, action.within)
    return ProbeSpec(action.service, container, gate, action.health_test, ports, action.proof)


class Probing:
    """One loop over the gates that became ready together."""

    def __init__(
        self,
        engine: Operator,
        batch: Batch,
        specs: Mapping[str, ProbeSpec],
        watch: Watch,
        seen: Seen,
        step_of: Callable[[str], str],
    ) -> None:
        self._engine = engine
        self._batch = batch
        self._specs = specs
        self._watch = watch
        self._seen = seen
        self._step_of = step_of  # the step that stands for a service that was up already
        self._open = {step.service: step for step in batch.steps if step.service}
        self._last: dict[str, str] = {}

    def run(self) -> None:
        """Until all have passed or one that matters has failed."""
        actions = [step.action for step in self._open.values() if isinstance(step.action, AwaitGate)]
        script = self._engine.probe(
            list(self._specs.values()),
            interval=INTERVAL,
            since=self._watch.since,
            watch=self._watch.up,
            settle=self._watch.settle,
            one_shot=frozenset(action.service for action in actions if action.one_shot),
            tolerant=frozenset(action.service for action in actions if action.optional),
        )
        bound = max((action.within for action in actions), default=0.0) + self._watch.settle + _SLACK
        failed: list[ProbeState] = []
        try:
            for line in self._batch.watch(script, timeout=bound):
                state = self._take(line)
                if state is not None:
                    failed.append(state)
        except DeadlineExceeded as error:
            failed += [ProbeState(name, "timeout", str(error)) for name in self._open]
        self._settle(failed)

    def _settle(self, failed: list[ProbeState]) -> None:
        """All at once: the first failure that is known ends everything beside it, the looking for causes too."""
        verdicts = dict(self._failure(state) for state in failed)
        names = ", ".join(state.service for state in failed)
        for step in self._open.values():
            last = self._last.get(step.service, "starting")
            error = StepFailed(f"{step.service}: the probing ended early", why=last, next="run it again")
            verdicts[step.id] = (
                Verdict(Outcome.SKIPPED, f"still not up when {names} failed: {last}")
                if failed
                else Verdict(Outcome.FAILED, error.info.what, error)
            )
        self._batch.board.settle(verdicts)

    def _take(self, line: str) -> ProbeState | None:
        if available := self._engine.parse_available(line):
            self._seen.available(available)
        state = self._engine.parse_probe(line)
        if state is None:
            return None
        step = self._open.get(state.service)
        if state.state == "waiting" and step is not None:
            self._last[state.service] = state.detail
            self._batch.board.waiting(step, state.detail)
            return None
        if state.state == "passed" and step is not None:
            del self._open[state.service]
            # Noted before it is told: the next phase begins as soon as it is, and watches what is up.
            if isinstance(step.action, AwaitGate) and not step.action.one_shot:
                self._seen.up[state.service] = self._specs[state.service].container
            self._batch.done(step, Outcome.UNCHANGED, state.detail)
            return None
        return state

    def _failure(self, state: ProbeState) -> tuple[str, Verdict]:
        step = self._open.pop(state.service, None)
        container = self._specs[state.service].container if step else self._watch.up.get(state.service, "")
        diagnosis = diagnose(self._engine, self._batch, state.service, container, state)
        error = gate_error(state, diagnosis, before=self._last.get(state.service, ""), was_up=step is None)
        name = step.id if step else self._step_of(state.service)
        return name, Verdict(Outcome.FAILED, error.info.what.partition(": ")[2], error, diagnosis)


def diagnose(
    engine: Operator, batch: Batch, service: str, container: str, seen: ProbeState | None = None
) -> Diagnosis | None:
    """One look at a service that failed; None when even that cannot be had."""
    with suppress(OpsError):
        answer = batch.read(engine.diagnose(service, container), timeout=_DIAGNOSIS)
        return engine.parse_diagnosis(service, answer.text, seen=seen)
    return None


def gate_error(state: ProbeState, diagnosis: Diagnosis | None, *, before: str, was_up: bool) -> GateFailed:
    """What happened, the likely cause with the last state seen, and what to do."""
    words = _WORDS.get(state.state, state.state)
    head = f"{state.service} was up and then fell over: {words}" if was_up else f"{state.service} is not up: {words}"
    seen = state.detail or before
    cause = diagnosis.cause if diagnosis else ""
    why = "; ".join(part for part in (cause, f"last state seen: {seen}" if seen else "") if part)
    advice = (diagnosis.advice if diagnosis else "") or f"opsctl logs {state.service}"
    return GateFailed(head, why=why, next=advice, code=f"gate-{state.state}")
