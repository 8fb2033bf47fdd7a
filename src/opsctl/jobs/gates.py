"""Does the steps of `startup`, `stop` and `restart` on one droplet."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from opsctl.jobs import boot
from opsctl.jobs.call import RunOpsctl, no_opsctl
from opsctl.jobs.gates_memory import Room, arithmetic, fits, refusal, rooms
from opsctl.jobs.gates_probe import MEMINFO, Probing, Seen, Watch, diagnose, spec
from opsctl.jobs.startup_actions import AwaitGate, Create, Keep, MemoryGate, Remove, RunThen, Settle, Start, Stop
from opsctl.model.cancel import Cancel
from opsctl.model.engine import StackFacts
from opsctl.model.errors import OpsError, PlanMoved, StepFailed
from opsctl.model.events import Note, Outcome, PhaseStarted
from opsctl.model.operate import Operator
from opsctl.model.plan import Plan, Step
from opsctl.model.ports import Shell
from opsctl.model.stack import Stack, Then
from opsctl.spine.batch import Batch, Handler, Verdict
from opsctl.spine.journal import chain

_CREATE = 180.0  # s; compose makes networks, volumes and containers one after the other on a slow disk
_START = 120.0
_STOP = 150.0
_LAST_READ = 3.0  # s; nobody waits longer for a figure at the end


class Operations:
    """The state of one run: which container stands for a service, what is up, how much memory was seen."""

    def __init__(
        self,
        engine: Operator,
        plan: Plan,
        facts: StackFacts,
        stack: Stack,
        *,
        retry: str,
        opsctl: RunOpsctl = no_opsctl,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._facts = facts
        self._stack = stack
        self._retry = retry
        self._opsctl = opsctl
        self._ids = {name: found.id for name in facts.compose if (found := facts.of(name)) is not None}
        self._created: dict[str, str] = {}
        self._since = ""
        self._seen = Seen({}, (facts.memory.available, time.monotonic()))

    def handlers(self) -> Mapping[str, Handler]:
        """What the executor calls, by kind of action."""
        return {
            Keep.kind: Handler(self._keep, together=True),
            Create.kind: Handler(self._create),
            MemoryGate.kind: Handler(self._memory),
            Start.kind: Handler(self._start, together=True),
            AwaitGate.kind: Handler(self._gate, together=True),
            RunThen.kind: Handler(self._then),
            Settle.kind: Handler(self._settle),
            Stop.kind: Handler(self._stop, together=True),
            Remove.kind: Handler(self._remove),
            boot.SetBoot.kind: boot.handler(lambda name: self._ids.get(name, ""), self._facts.engine.socket),
        }

    @property
    def available(self) -> int:
        """The last MemAvailable seen, in bytes."""
        return self._seen.memory[0]

    def available_now(self, shell: Shell) -> int:
        """MemAvailable at the end of a run, an interrupted one too, in bytes; the last one seen where that fails."""
        if self._seen.old:
            with suppress(OpsError):
                self._seen.read(self._engine, shell.run(MEMINFO, cancel=Cancel(_LAST_READ), timeout=_LAST_READ).text)
        return self.available

    def _keep(self, batch: Batch) -> None:
        for step in batch.steps:
            container = self._facts.of(step.service)
            if container is not None and container.status == "running":
                self._seen.up[step.service] = container.id
        batch.board.settle(
            {
                step.id: Verdict(Outcome.UNCHANGED, step.action.state)
                for step in batch.steps
                if isinstance(step.action, Keep)
            }
        )

    def _create(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Create)
        answer = batch.change(self._engine.create(action.services), timeout=_CREATE)
        if answer.code != 0:
            said = [line.strip() for line in answer.error_text.splitlines() if line.strip()]
            raise StepFailed(
                f"compose could not create {', '.join(action.missing)}",
                why=said[-1] if said else f"exit status {answer.code}",
                next="mend what compose complains of, and run it again",
                code="create-failed",
            )
        found = self._engine.parse_created(answer.text)
        made = {name: found[name] for name in action.missing if name in found}
        self._ids.update(made)
        self._created.update(made)
        batch.done(step, Outcome.CHANGED, f"created {', '.join(made)}")

    # Memory

    def _memory(self, batch: Batch) -> None:
        (step,) = batch.steps
        gate = step.action
        assert isinstance(gate, MemoryGate)
        available = self._fresh(batch)
        names = tuple(each.service for each in gate.expected)
        batch.board.emit(PhaseStarted(batch.droplet, step.phase, names, gate.needs, gate.reserve, available))
        if fits(gate, available) or not gate.enforce:
            if not fits(gate, available):
                text = f"{', '.join(names)}: {arithmetic(gate, available)}; going on as told to"
                batch.board.emit(Note(batch.droplet, text, "warning"))
            batch.done(step, Outcome.UNCHANGED, arithmetic(gate, available))
            return
        error = refusal(step.title.removeprefix("memory for "), gate, available, self._rooms(batch), self._retry)
        if gate.optional:
            batch.board.emit(Note(batch.droplet, f"{error.info.what}; to make room: {error.info.next}", "warning"))
            batch.done(step, Outcome.SKIPPED, error.info.what)
        else:
            batch.failed(step.id, error)

    def _fresh(self, batch: Batch) -> int:
        if self._seen.old:
            self._seen.read(self._engine, batch.read(MEMINFO, timeout=15.0).text)
        return self.available

    def _rooms(self, batch: Batch) -> tuple[Room, ...]:
        ours = [each for each in self._facts.containers if each.project == self._facts.project and each.service]
        needed = {step.service for step in self._plan.steps if step.service}
        needed |= {
            each.service
            for step in self._plan.steps
            if isinstance(step.action, MemoryGate)
            for each in step.action.expected
        }
        used: Mapping[str, int] = {}
        try:
            used = self._engine.parse_usage(batch.read(self._engine.usage(ours), timeout=15.0).text)
        except OpsError as error:
            batch.board.emit(Note(batch.droplet, f"memory of the others is unknown: {error.info.what}", "warning"))
        declared = {name: each.memory for name, each in self._stack.services.items() if each.memory}
        return rooms(ours, needed, used, declared, self._stack.redundant)

    # Start, ask, stop

    def _start(self, batch: Batch) -> None:
        ids = {step.service: self._ids.get(step.service, "") for step in batch.steps}
        script = self._engine.start([each for each in ids.values() if each])
        # Started by its id, a container proves that it is the one that was planned: another would have another.
        self._seen.outdated()
        answer = batch.change(script, timeout=_START, proves=("container-id",))
        self._since = self._since or self._engine.parse_since(answer.text)
        said = self._engine.parse_started(answer.text)
        good: dict[str, Verdict] = {}
        for step in batch.steps:
            container = ids[step.service]
            wrong = said.get(container, answer.error_text or "no answer") if container else "it was not created"
            if wrong:
                self._not_started(batch, step, container, wrong)
            else:
                good[step.id] = Verdict(Outcome.CHANGED, "started")
        batch.board.settle(good)

    def _not_started(self, batch: Batch, step: Step, container: str, wrong: str) -> None:
        if "no such container" in wrong.lower():
            raise PlanMoved(f"the container of {step.service} is gone", why=wrong, next="run it again: it plans anew")
        diagnosis = diagnose(self._engine, batch, step.service, container) if container else None
        cause = diagnosis.cause if diagnosis and diagnosis.cause else ""
        error = StepFailed(
            f"{step.service} could not be started" + (f": {cause}" if cause else ""),
            why=wrong.removeprefix("Error response from daemon: ").partition(" Error: failed to start")[0],
            next=diagnosis.advice if diagnosis and diagnosis.advice else f"opsctl logs {step.service}",
            code="start-failed",
        )
        batch.failed(step.id, error, diagnosis)

    def _gate(self, batch: Batch) -> None:
        specs = {}
        for step in batch.steps:
            container = self._facts.of(step.service)
            specs[step.service] = spec(
                step, self._ids.get(step.service, ""), container.ports if container else self._ports(step.service)
            )
        Probing(self._engine, batch, specs, self._watch(batch), self._seen, self._step_of).run()

    def _ports(self, service: str) -> dict[int, tuple[str, int]]:
        compose = self._facts.compose.get(service)
        return {port: ("127.0.0.1", published) for port, published in compose.ports.items()} if compose else {}

    def _watch(self, batch: Batch, settle: float = 0.0) -> Watch:
        own = {step.service for step in batch.steps}
        return Watch(self._since, {name: each for name, each in list(self._seen.up.items()) if name not in own}, settle)

    def _step_of(self, service: str) -> str:
        ids = {step.id for step in self._plan.steps}
        return next(name for name in (f"gate:{service}", f"keep:{service}", self._plan.steps[-1].id) if name in ids)

    def _settle(self, batch: Batch) -> None:
        (step,) = batch.steps
        assert isinstance(step.action, Settle)
        watch = self._watch(batch, step.action.seconds)
        Probing(self._engine, batch, {}, watch, self._seen, self._step_of).run()
        batch.done(step, Outcome.UNCHANGED, "nothing fell over")

    def _stop(self, batch: Batch) -> None:
        grace = max(
            (s.action.grace for s in batch.steps if isinstance(s.action, Stop) and s.action.grace is not None),
            default=None,
        )
        ids = {
            s.service: (s.action.container if isinstance(s.action, Stop) else "") or self._ids.get(s.service, "")
            for s in batch.steps
        }
        script = self._engine.stop([each for each in ids.values() if each], grace=grace)
        # What was stopped gave something back: the memory is read again in the same round trip.
        answer = batch.change(chain(script, MEMINFO), timeout=_STOP, proves=("container-id",))
        said = self._engine.parse_started(answer.text)
        good: dict[str, Verdict] = {}
        for step in batch.steps:
            wrong = said.get(ids[step.service], answer.error_text or "no answer") if ids[step.service] else ""
            self._seen.up.pop(step.service, None)
            if wrong:
                batch.failed(
                    step.id, StepFailed(f"{step.service} could not be stopped", why=wrong, next="opsctl status")
                )
            else:
                good[step.id] = Verdict(Outcome.CHANGED, "stopped")
        self._seen.read(self._engine, answer.text)
        batch.board.settle(good)

    def _remove(self, batch: Batch) -> None:
        (step,) = batch.steps
        assert isinstance(step.action, Remove)
        ids = [self._created[name] for name in step.action.services if name in self._created]
        said = self._engine.parse_started(batch.change(self._engine.remove(ids), timeout=_STOP).text)
        wrong = [text for text in said.values() if text]
        if wrong:
            raise StepFailed("what was created could not be removed", why=wrong[0])
        batch.done(step, Outcome.CHANGED, f"{len(ids)} removed")

    # After a gate

    def _then(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, RunThen)
        if action.step == "opsctl":
            code, said = self._opsctl(action.words, batch.cancel.child(action.within)), ""
        else:
            kind: Literal["sql", "command"] = "sql" if action.step == "sql" else "command"
            script = self._engine.then(
                f"{action.service}.{action.number}",
                self._ids[action.service],
                Then(kind, action.words, action.within),
                stdin=_sql(action),
                mark=action.mark,
            )
            answer = batch.change(script, timeout=action.within)
            code, said = answer.code, answer.text.strip()
        if code != 0:
            raise StepFailed(
                f"{step.title} failed with exit status {code}",
                why="\n".join(said.splitlines()[-5:]),
                next=f"mend it, and run it again; {action.service} itself is up",
                code="then-failed",
            )
        what = f"applied {Path(action.words[0]).name}" if action.step == "sql" else f"ran {' '.join(action.words)}"
        batch.done(step, Outcome.CHANGED, ": ".join([what, *said.splitlines()[-1:]]))


def _sql(action: RunThen) -> bytes | None:
    if not action.path:
        return None
    data = Path(action.path).read_bytes()
    if hashlib.sha256(data).hexdigest() != action.digest:
        raise PlanMoved(f"{action.path} changed after it was planned", next="run it again: it plans anew")
    return data
