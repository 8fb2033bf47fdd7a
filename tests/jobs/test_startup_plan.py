"""What `startup` would do, from facts alone."""

from __future__ import annotations

import random

import pytest
from tests.jobs.startup_facts import DROPLET, MB, by_id, compose, container, facts, ids, service, stack

from opsctl.jobs.startup_actions import AwaitGate, Create, MemoryGate, Start
from opsctl.jobs.startup_plan import Planned, plan
from opsctl.jobs.startup_select import Options
from opsctl.jobs.startup_steps import GUESS, LocalSql, then_action
from opsctl.model.errors import ConfigError, StepFailed, UsageError
from opsctl.model.operate import DropletFacts
from opsctl.model.stack import Gate, Stack, Then
from opsctl.spine.executor import after


def planned(found: DropletFacts, wanted: Stack, **options: object) -> Planned:
    return plan(found, wanted, DROPLET, Options(**options), find_sql=lambda name: None)  # type: ignore[arg-type]


TWO = [compose("db"), compose("app", {"db": "service_healthy"})]
STOPPED = [container("db", "exited"), container("app", "exited")]


def test_phases_are_cumulative_and_in_order() -> None:
    wanted = stack(service("app", 2), service("db", 1))
    assert ids(planned(facts(TWO, STOPPED), wanted).plan) == [
        "memory:1", "start:db", "gate:db", "memory:2", "start:app", "gate:app",
    ]  # fmt: skip
    assert ids(planned(facts(TWO, STOPPED), wanted, phase=1).plan) == ["memory:1", "start:db", "gate:db"]


def test_a_phase_waits_for_the_gates_of_the_one_before() -> None:
    steps = by_id(planned(facts(TWO, STOPPED), stack(service("db", 1), service("app", 2))).plan)
    assert steps["memory:2"].needs == ("gate:db",)
    assert "memory:2" in steps["start:app"].needs


def test_what_is_healthy_is_left_alone_and_nothing_changes() -> None:
    up = [container("db", health="healthy"), container("app", health="healthy")]
    result = planned(facts(TWO, up), stack(service("db"), service("app", 2)))
    assert ids(result.plan) == ["keep:db", "keep:app"]
    assert not result.changes


def test_what_runs_but_was_not_proved_yet_is_asked_and_not_started() -> None:
    up = [container("db", health="starting"), container("app")]
    result = planned(facts(TWO, up), stack(service("db"), service("app", 2)))
    assert ids(result.plan) == ["gate:db", "gate:app"]
    assert not result.changes


def test_without_gate_and_health_check_running_is_enough() -> None:
    result = planned(facts([compose("db")], [container("db")]), stack(service("db", gate=Gate())))
    assert ids(result.plan) == ["keep:db"]


def test_missing_containers_are_created_first_and_the_rest_while_the_first_phase_comes_up() -> None:
    steps = by_id(planned(facts(TWO), stack(service("db"), service("app", 2))).plan)
    first, later = steps["create"].action, steps["create:later"].action
    assert isinstance(first, Create) and isinstance(later, Create)
    assert (first.services, later.services) == (("db",), ("app",))
    assert after(steps["create:later"]) == ("start:db",)
    assert "create" in steps["start:db"].needs and "create:later" in steps["start:app"].needs
    assert steps["create"].guards[0].fact == "file-hash"


def test_dependencies_that_were_not_asked_for_are_created_along_but_never_started() -> None:
    result = planned(facts(TWO), stack(service("db"), service("app", 2)), only=("app",))
    steps = by_id(result.plan)
    create = steps["create"].action
    assert isinstance(create, Create)
    assert create.services == ("app",) and set(create.missing) == {"app", "db"}
    assert "start:db" not in steps
    assert any("db" in note for note in result.notes)


def test_a_start_stands_on_the_container_it_was_planned_for() -> None:
    step = by_id(planned(facts(TWO, STOPPED), stack(service("db"))).plan)["start:db"]
    assert [(guard.fact, guard.subject, guard.value) for guard in step.guards] == [("container-id", "db", "id-db")]
    assert isinstance(step.action, Start) and step.undo is not None


def test_depends_on_orders_within_a_phase() -> None:
    services = [
        compose("app", {"db": "service_healthy", "job": "service_completed_successfully", "x": "service_started"})
    ]
    services += [compose("db"), compose("job"), compose("x")]
    gone = [container(name.name, "exited", exit_code=1) for name in services]
    wanted = stack(*(service(name) for name in ("app", "db", "job", "x")))
    steps = by_id(planned(facts(services, gone), wanted).plan)
    assert {"gate:db", "gate:job", "start:x"} <= set(steps["start:app"].needs)
    assert "gate:x" not in steps["start:app"].needs


def test_a_one_shot_that_is_done_counts_as_up() -> None:
    services = [compose("job"), compose("app", {"job": "service_completed_successfully"})]
    there = [container("job", "exited"), container("app", health="healthy")]
    result = planned(facts(services, there), stack(service("job"), service("app")))
    assert ids(result.plan) == ["keep:job", "keep:app"]
    failed = [container("job", "exited", exit_code=1), container("app", health="healthy")]
    step = by_id(planned(facts(services, failed), stack(service("job"), service("app"))).plan)["gate:job"]
    assert isinstance(step.action, AwaitGate) and step.action.one_shot


def test_one_by_one_each_with_a_memory_gate_of_its_own() -> None:
    names = ("a", "b", "c")
    services = [compose("db"), *(compose(name) for name in names)]
    gone = [container(name, "exited") for name in ("db", *names)]
    wanted = stack(service("db"), *(service(name, 2, one_by_one=True, optional=True) for name in names))
    steps = by_id(planned(facts(services, gone), wanted).plan)
    assert steps["memory:b"].needs == ("gate:db", "memory:a")
    assert "gate:a" in after(steps["memory:b"]) and "gate:a" not in steps["memory:b"].needs
    gate = steps["memory:c"].action
    assert isinstance(gate, MemoryGate) and gate.optional


def test_a_required_one_by_one_holds_up_what_follows() -> None:
    services = [compose("a"), compose("b")]
    gone = [container("a", "exited"), container("b", "exited")]
    wanted = stack(service("a", one_by_one=True), service("b", one_by_one=True))
    assert "gate:a" in by_id(planned(facts(services, gone), wanted).plan)["memory:b"].needs


def test_the_memory_gate_counts_what_really_starts_and_says_who_says_so() -> None:
    services = [compose("a"), compose("b", limit=256 * MB), compose("c"), compose("up")]
    gone = [container(name, "exited") for name in "abc"] + [container("up", health="healthy")]
    wanted = stack(service("a"), service("b", memory=None), service("c", memory=None), service("up"))
    gate = by_id(planned(facts(services, gone), wanted).plan)["memory:1"].action
    assert isinstance(gate, MemoryGate)
    assert {each.service: each.bytes for each in gate.expected} == {"a": 50 * MB, "b": 128 * MB, "c": GUESS}
    assert gate.needs == 178 * MB + GUESS and gate.reserve == 200 * MB
    assert {each.source.split()[0] for each in gate.expected} == {"stack", "half", "a"}


def test_skip_and_only() -> None:
    wanted = stack(service("db"), service("app", 2))
    assert ids(planned(facts(TWO, STOPPED), wanted, skip=("app",)).plan) == ["memory:1", "start:db", "gate:db"]
    only = planned(facts(TWO, STOPPED), wanted, only=("app",))
    assert ids(only.plan) == ["memory:2", "start:app", "gate:app"]
    assert only.notes == ("app depends on db, not running and not asked for",)


def test_a_service_without_a_phase_starts_only_when_named() -> None:
    wanted = stack(service("db"), service("app", None))
    assert "start:app" not in ids(planned(facts(TWO, STOPPED), wanted).plan)
    assert "start:app" in ids(planned(facts(TWO, STOPPED), wanted, only=("app",)).plan)


def test_names_and_phases_that_are_not_there() -> None:
    wanted = stack(service("db"), service("app", 2))
    with pytest.raises(UsageError) as unknown:
        planned(facts(TWO), wanted, only=("ap",))
    assert unknown.value.info.next == "did you mean app?"
    with pytest.raises(UsageError) as phase:
        planned(facts(TWO), wanted, phase=3)
    assert "1 to 2" in phase.value.info.why


def test_drift_is_told_and_never_mended() -> None:
    up = [container("db", health="healthy"), container("app", health="healthy")]
    found = facts(TWO, up, drift=frozenset({"app", "other"}))
    assert planned(found, stack(service("db"), service("app", 2))).notes == (
        "app differs from the compose file: run opsctl deploy",
    )


def test_a_missing_image_is_an_error_before_anything_starts() -> None:
    found = facts(
        [compose("db"), compose("app", {"db": "service_started"}, build=True)], missing_images=frozenset({"app"})
    )
    with pytest.raises(StepFailed) as error:
        planned(found, stack(service("db"), service("app", 2)))
    assert error.value.info.code == "image-missing"
    assert error.value.info.next.endswith("docker compose -f /c.yml build app")
    optional = planned(found, stack(service("db"), service("app", 2, optional=True)))
    assert "start:app" not in ids(optional.plan) and "app is left out" in optional.notes[0]


def test_the_image_of_what_is_created_along_counts_too() -> None:
    found = facts(TWO, missing_images=frozenset({"db"}))
    with pytest.raises(StepFailed, match="db"):
        planned(found, stack(service("db"), service("app", 2)), only=("app",))


THEN = Then("sql", ("schema.sql",))


def sql_plan(found: DropletFacts) -> Planned:
    wanted = stack(service("db", then=(THEN, Then("command", ("true",)))), service("app", 2))
    return plan(found, wanted, DROPLET, Options(), find_sql=lambda name: LocalSql("/s/schema.sql", "digest"))


def test_steps_after_a_gate_come_before_the_next_phase() -> None:
    steps = by_id(sql_plan(facts(TWO, STOPPED)).plan)
    assert steps["then:db:1"].needs == ("gate:db",)
    assert steps["then:db:2"].needs == ("gate:db", "then:db:1")
    assert set(steps["memory:2"].needs) == {"gate:db", "then:db:1", "then:db:2"}


def test_a_then_step_is_owed_once_a_start() -> None:
    up = [container("db", health="healthy"), container("app", health="healthy")]
    owed = sql_plan(facts(TWO, up))
    assert "then:db:1" in ids(owed.plan) and owed.changes
    mark = then_action(service("db"), 1, THEN, lambda name: LocalSql("/s/schema.sql", "digest"), None).mark
    known = f"{mark} id-db 2026-01-01T00:00:00Z"
    assert "then:db:1" not in ids(sql_plan(facts(TWO, up, done={"db.1": known})).plan)
    # Another start of the container, or another text of the file, and it is owed again.
    assert "then:db:1" in ids(sql_plan(facts(TWO, up, done={"db.1": known.replace("00:00:00", "00:00:09")})).plan)
    assert "then:db:1" in ids(sql_plan(facts(TWO, up, done={"db.1": "0" * 16 + known[16:]})).plan)


def test_an_sql_file_that_is_nowhere_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"schema\.sql"):
        planned(facts(TWO, STOPPED), stack(service("db", then=(THEN,))))


def test_settle_watches_at_the_end() -> None:
    steps = planned(facts(TWO, STOPPED), stack(service("db")), settle=5.0).plan.steps
    assert steps[-1].id == "settle" and steps[-1].needs == ("gate:db",)


def test_the_same_facts_make_the_same_plan_and_others_another() -> None:
    wanted = stack(service("db"), service("app", 2))
    first, again = planned(facts(TWO, STOPPED), wanted).plan, planned(facts(TWO, STOPPED), wanted).plan
    assert first.id == again.id
    assert first.id != planned(facts(TWO, [STOPPED[0]]), wanted).plan.id


@pytest.mark.parametrize("seed", range(60))
def test_any_stack_makes_a_plan_in_the_order_of_its_needs(seed: int) -> None:
    """Every need and every `after` names an earlier step, ids are unique, and what is up is not started."""
    dice = random.Random(seed)
    names = [f"s{number}" for number in range(dice.randint(1, 8))]
    phases = {name: dice.randint(1, 3) for name in names}
    conditions = ("service_started", "service_healthy", "service_completed_successfully")
    services = []
    for number, name in enumerate(names):
        before = [other for other in names[:number] if phases[other] <= phases[name]]
        depends = {other: dice.choice(conditions) for other in before if dice.random() < 0.4}
        services.append(compose(name, depends))
    states = [None, ("exited", ""), ("running", ""), ("running", "healthy"), ("created", ""), ("restarting", "")]
    there = [(name, dice.choice(states)) for name in names]
    found = facts(services, [container(name, state[0], health=state[1]) for name, state in there if state])
    wanted = stack(
        *(
            service(name, phases[name], one_by_one=dice.random() < 0.4, optional=dice.random() < 0.4)
            for name in dice.sample(names, len(names))
        )
    )
    steps = planned(found, wanted, settle=dice.choice((0.0, 1.0))).plan.steps
    seen: set[str] = set()
    for step in steps:
        assert step.id not in seen
        assert set(step.needs) | set(after(step)) <= seen, step
        seen.add(step.id)
    for name, state in there:
        assert (f"start:{name}" in seen) == (
            state is None or state[0] in ("exited", "created")
        ) or f"keep:{name}" in seen
        assert f"gate:{name}" in seen or f"keep:{name}" in seen
