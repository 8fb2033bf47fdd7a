"""The executor over real threads: order, failures, undo, cancellation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConnectionLost, ExitCode, GateFailed, StepFailed
from opsctl.model.events import Event, Outcome, RunEnded, StepEnded
from opsctl.model.plan import Action, Plan, Step
from opsctl.model.ports import Completed, Script
from opsctl.model.run import OnFailure, RunResult
from opsctl.spine.batch import Batch, Handler, Verdict
from opsctl.spine.executor import Executor
from opsctl.spine.means import Means


@dataclass(frozen=True)
class Do(Action):
    kind: ClassVar[str] = "do"
    after: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Together(Do):
    kind: ClassVar[str] = "together"


@dataclass(frozen=True)
class Undo(Action):
    kind: ClassVar[str] = "undo"


class NoShell:
    """No step of these tests talks to a host."""

    def run(self, script: Script, *, cancel: Cancel, timeout: float) -> Completed:
        raise AssertionError

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None) -> Iterator[str]:
        raise AssertionError


@dataclass
class World:
    """Handlers that write down what they did, and events."""

    failing: dict[str, Exception] = field(default_factory=dict)
    blocking: set[str] = field(default_factory=set)
    during: dict[str, Callable[[Batch], None]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cancel: Cancel = field(default_factory=Cancel)
    entered: threading.Event = field(default_factory=threading.Event)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def act(self, batch: Batch) -> None:
        self.groups.append(tuple(step.id for step in batch.steps))
        for step in batch.steps:
            if step.id in self.during:
                self.during[step.id](batch)
            if step.id in self.blocking:
                self.entered.set()
                batch.cancel.wait(30)
                batch.cancel.check()
            if step.id in self.failing:
                raise self.failing[step.id]
            self.done.append(step.id)
        batch.board.settle({step.id: Verdict(Outcome.CHANGED) for step in batch.steps})

    def undo(self, batch: Batch) -> None:
        for step in batch.steps:
            self.done.append(f"undo {step.id}")
            batch.done(step, Outcome.CHANGED)

    def run(self, *steps: Step, on_failure: OnFailure = "stop") -> RunResult:
        handlers = {
            "do": Handler(self.act),
            "together": Handler(self.act, together=True),
            "undo": Handler(self.undo, True),
        }
        means = Means("d", NoShell(), handlers, self, lambda facts: Script("true"))
        return Executor(Plan("test", steps), means, run_id="r", on_failure=on_failure, cancel=self.cancel).run()


def step(name: str, *needs: str, action: Action | None = None, service: str = "", undo: bool = False) -> Step:
    return Step(name, name, action or Do(), service=service, needs=needs, undo=Undo() if undo else None)


def outcomes(result: RunResult) -> dict[str, str]:
    return {each.id: each.outcome.value for each in result.steps}


def test_steps_wait_for_what_they_need() -> None:
    world = World()
    result = world.run(step("a"), step("b", "a"), step("c", "b"))
    assert world.done == ["a", "b", "c"]
    assert result.exit_code is ExitCode.DONE and result.error is None
    assert isinstance(world.events[-1], RunEnded) and world.events[-1].ok


def test_a_plan_that_waits_for_what_is_not_in_it_is_a_mistake_and_no_success() -> None:
    with pytest.raises(ValueError, match="not in it: b"):
        World().run(step("a"), step("b", "z"))
    with pytest.raises(ValueError, match="not in it: a"):
        World().run(step("a", action=Do(after=("z",))))


def test_ready_steps_of_one_kind_share_a_call() -> None:
    world = World()
    world.run(step("a", action=Together()), step("b", action=Together()), step("c", "a", "b", action=Together()))
    assert world.groups == [("a", "b"), ("c",)]


def test_independent_steps_run_side_by_side() -> None:
    meet = threading.Barrier(2, timeout=20)
    world = World(during={"a": lambda _: meet.wait() and None, "b": lambda _: meet.wait() and None})
    assert world.run(step("a"), step("b")).exit_code is ExitCode.DONE


def test_a_failure_skips_what_needs_it_and_begins_nothing_new() -> None:
    world = World(failing={"a": StepFailed("broken", why="because", next="mend")})
    result = world.run(step("a"), step("b", "a"), step("c", "b"))
    assert outcomes(result) == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert result.exit_code is ExitCode.FAILED and result.error is not None and result.error.what == "broken"
    assert "a failed" in result.steps[1].detail


def test_a_tolerated_failure_goes_on_with_the_others() -> None:
    world = World(failing={"a": GateFailed("no")})
    result = world.run(
        step("a", action=Do(optional=True)), step("b", "a"), step("c", action=Do(after=("a",))), step("d", "c")
    )
    assert outcomes(result) == {"a": "failed", "b": "skipped", "c": "changed", "d": "changed"}
    assert result.exit_code is ExitCode.GATE


def test_a_tolerated_failure_is_taken_back_before_the_next_begins() -> None:
    world = World(failing={"gate": GateFailed("no")})
    result = world.run(
        step("start", service="s", undo=True),
        step("gate", "start", service="s", action=Do(optional=True)),
        step("next", action=Do(after=("gate",)), service="t"),
    )
    assert world.done == ["start", "undo start", "next"]
    assert result.undone == ("start",) and result.exit_code is ExitCode.GATE


def test_a_failure_ends_what_runs_beside_it() -> None:
    world = World(blocking={"slow"})
    world.failing = {"a": StepFailed("no")}
    world.during = {"a": lambda _: world.entered.wait(20) and None}
    result = world.run(step("slow"), step("a"))
    assert outcomes(result) == {"slow": "skipped", "a": "failed"}
    assert "another step failed" in result.steps[0].detail


@pytest.mark.parametrize(
    ("policy", "undone"),
    [("stop", ["undo b"]), ("keep", []), ("rollback", ["undo b", "undo a"])],
)
def test_what_a_failure_takes_back(policy: OnFailure, undone: list[str]) -> None:
    world = World(failing={"gate": GateFailed("no")})
    result = world.run(
        step("a", service="s1", undo=True),
        step("b", "a", service="s2", undo=True),
        step("gate", "b", service="s2"),
        on_failure=policy,
    )
    assert [each for each in world.done if each.startswith("undo")] == undone
    assert [f"undo {name}" for name in result.undone] == undone
    assert result.exit_code is ExitCode.GATE


def test_nothing_is_taken_back_over_a_lost_connection() -> None:
    world = World(failing={"b": ConnectionLost("gone")})
    result = world.run(step("a", undo=True), step("b", "a", undo=True), on_failure="rollback")
    assert not result.undone and result.exit_code is ExitCode.UNREACHABLE


def test_an_interrupt_ends_the_run_and_keeps_what_is_done() -> None:
    world = World(blocking={"b"})
    threading.Thread(target=lambda: (world.entered.wait(20), world.cancel.cancel(15))).start()
    result = world.run(step("a", undo=True), step("b", "a"), step("c", "b"), on_failure="rollback")
    assert outcomes(result) == {"a": "changed", "b": "skipped", "c": "skipped"}
    assert result.exit_code is ExitCode.TERMINATED and not result.undone
    assert [each.detail for each in result.steps] == ["", "interrupted", "not begun: interrupted"]


def test_a_success_can_still_turn_into_a_failure() -> None:
    world = World()
    world.during = {"b": lambda batch: batch.failed("a", GateFailed("fell over again"))}
    result = world.run(step("a"), step("b", "a"))
    assert outcomes(result)["a"] == "failed" and result.exit_code is ExitCode.GATE


def test_a_handler_that_forgets_a_step_fails_it() -> None:
    world = World()
    handlers = {"do": Handler(lambda batch: None)}
    means = Means("d", NoShell(), handlers, world, lambda facts: Script("true"))
    result = Executor(Plan("t", (step("a"),)), means, run_id="r", on_failure="stop", cancel=Cancel()).run()
    assert outcomes(result) == {"a": "failed"}


def test_a_bug_is_raised_after_everything_has_ended() -> None:
    world = World(failing={"a": ValueError("bug")}, blocking={"b"})
    world.during = {"a": lambda _: world.entered.wait(20) and None}
    with pytest.raises(ValueError, match="bug"):
        world.run(step("a"), step("b"))
    assert threading.active_count() < 10


def test_every_step_is_told_of() -> None:
    world = World(failing={"a": StepFailed("no")})
    world.run(step("a"), step("b", "a"))
    told = {event.step for event in world.events if isinstance(event, StepEnded)}
    assert told == {"a", "b"}
