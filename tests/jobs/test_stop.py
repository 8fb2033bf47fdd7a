"""What `stop` would do."""

from __future__ import annotations

import pytest
from tests.jobs.startup_facts import by_id, compose, container, facts, ids, service, stack

from opsctl.jobs.startup_actions import Keep, Stop
from opsctl.jobs.stop import plan_stop
from opsctl.model.errors import UsageError
from opsctl.spine.executor import after

SERVICES = [compose("db"), compose("cache"), compose("app", {"db": "service_healthy"})]
UP = [container("db"), container("cache"), container("app")]
STACK = stack(service("db"), service("cache"), service("app", 2))


def test_the_last_phase_goes_first() -> None:
    plan = plan_stop(facts(SERVICES, UP), STACK, ()).plan
    assert ids(plan)[0] == "stop:app"
    assert after(by_id(plan)["stop:db"]) == ("stop:app",) == after(by_id(plan)["stop:cache"])


def test_what_depends_on_another_goes_before_it_within_a_phase() -> None:
    wanted = stack(service("db"), service("cache"), service("app"))
    plan = plan_stop(facts(SERVICES, UP), wanted, ()).plan
    assert after(by_id(plan)["stop:db"]) == ("stop:app",) and after(by_id(plan)["stop:cache"]) == ()


def test_named_ones_only_and_a_note_about_who_may_miss_them() -> None:
    planned = plan_stop(facts(SERVICES, UP), STACK, ("db",))
    assert ids(planned.plan) == ["stop:db"]
    assert planned.notes == ("app depends on db and goes on running",)


def test_what_does_not_run_is_unchanged() -> None:
    planned = plan_stop(facts(SERVICES, [container("db", "exited"), container("cache", "restarting")]), STACK, ())
    assert ids(planned.plan) == ["stop:cache", "keep:db"] or set(ids(planned.plan)) == {"keep:db", "stop:cache"}
    nothing = plan_stop(facts(SERVICES), STACK, ("app",))
    assert ids(nothing.plan) == ["keep:app"] and not nothing.changes


def test_what_was_never_created_is_told_from_what_is_down() -> None:
    plan = plan_stop(facts(SERVICES, [container("db", "exited")]), STACK, ("app", "db")).plan
    states = [step.action.state for step in plan.steps if isinstance(step.action, Keep)]
    assert states == ["not created", "not running (exited)"]


def test_the_grace_and_the_container_travel_with_the_step() -> None:
    step = plan_stop(facts(SERVICES, UP), STACK, ("db",), grace=3).plan.steps[0]
    assert isinstance(step.action, Stop) and step.action.grace == 3 and step.action.container == "id-db"
    assert [guard.value for guard in step.guards] == ["id-db"]


def test_a_name_that_the_stack_does_not_have() -> None:
    with pytest.raises(UsageError) as error:
        plan_stop(facts(SERVICES, UP), STACK, ("dbb",))
    assert error.value.info.next == "did you mean db?"
