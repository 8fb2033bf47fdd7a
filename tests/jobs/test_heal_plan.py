"""What heal finds sick, when it is its turn, and what it would do."""

from __future__ import annotations

from dataclasses import replace

from tests.jobs.startup_facts import DROPLET, by_id, compose, container, facts, ids, service, stack

from opsctl.jobs import heal_plan
from opsctl.jobs.heal_plan import LIMIT, find, parse, plan_heal, to_text, words
from opsctl.model.boot import BootState

SERVICES = [compose("db"), compose("app", {"db": "service_healthy"}), compose("job")]
STACK = stack(service("db"), service("app", 2), service("job", 2))
NOW = 100_000.0


def sick(*containers: object, up: tuple[str, ...] = (), tries: dict[str, tuple[float, ...]] | None = None) -> object:
    found = replace(facts(SERVICES, list(containers)), boot=BootState(True, {}, up))  # type: ignore[arg-type]
    return find(found, STACK, tries or {}, NOW)


def names(found: object) -> list[str]:
    return [each.service for each in found[0]]  # type: ignore[index]


def test_what_crashed_was_killed_for_memory_or_is_unhealthy_is_sick() -> None:
    db, app = container("db", health="unhealthy"), container("app", "exited", exit_code=1)
    assert names(sick(db, app)) == ["db", "app"]
    oom = replace(container("app", "exited", exit_code=137), oom_killed=True)
    assert names(sick(container("db", health="healthy"), oom)) == ["app"]


def test_what_was_stopped_on_purpose_stays_down_unless_it_is_to_be_up() -> None:
    for code in (0, 143, 137):
        stopped = container("app", "exited", exit_code=code)
        assert names(sick(container("db"), stopped)) == []
        assert names(sick(container("db"), stopped, up=("db", "app"))) == ["app"]
    assert "was killed" in sick(container("app", "exited", exit_code=137))[1][0]  # type: ignore[index]


def test_what_docker_restarts_itself_or_still_starts_is_left_alone() -> None:
    found = sick(container("db", "restarting"), container("app", health="starting"))
    assert names(found) == []
    assert "again and again" in found[1][0]  # type: ignore[index]


def test_each_further_try_waits_twice_as_long_and_the_fifth_is_the_last_within_the_hour() -> None:
    crashed = container("app", "exited", exit_code=1)
    for tries, wait in (((30.0,), 30.0), ((100.0, 90.0), 30.0), ((500.0, 400.0, 230.0), 10.0)):
        [each] = sick(crashed, tries={"app": tuple(NOW - ago for ago in tries)})[0]  # type: ignore[index]
        assert (each.wait, each.due) == (wait, False)
    [each] = sick(crashed, tries={"app": tuple(NOW - 3000 + n for n in range(LIMIT))})[0]  # type: ignore[index]
    assert each.given_up and not each.due
    assert "somebody has to look" in words([each])[0]
    [each] = sick(crashed, tries={"app": tuple(NOW - 3700 + n for n in range(LIMIT))})[0]  # type: ignore[index]
    assert each.due and not each.tries


def test_a_clock_that_was_put_back_holds_nothing_up() -> None:
    [each] = sick(container("app", "exited", exit_code=1), tries={"app": (NOW + 50_000,)})[0]  # type: ignore[index]
    assert each.due


def test_an_unhealthy_one_is_stopped_first_and_a_refused_memory_gate_counts_as_no_try() -> None:
    found = facts(SERVICES, [container("db", health="unhealthy"), container("app", "exited", exit_code=1)])
    ill, _ = find(found, STACK, {}, NOW)
    plan = plan_heal(found, STACK, DROPLET, ill, NOW).plan
    steps = by_id(plan)
    assert ids(plan)[:2] == ["try:db", "stop:db"]
    assert steps["stop:db"].needs == ("try:db",)
    assert "memory:2" in steps["try:app"].needs
    assert "try:app" in steps["start:app"].needs
    assert steps["memory:1"].needs == ("stop:db",)
    order = ids(plan)
    assert all(order.index(need) < order.index(step.id) for step in plan.steps for need in step.needs)


def test_what_is_not_due_is_not_touched() -> None:
    found = facts(SERVICES, [container("db"), container("app", "exited", exit_code=1)])
    ill, _ = find(found, STACK, {"app": (NOW - 5,)}, NOW)
    assert plan_heal(found, STACK, DROPLET, ill, NOW).plan.steps == ()


def test_the_tries_survive_a_file_that_is_broken() -> None:
    assert parse(to_text({"a": (1.0, 2.0)})) == {"a": (1.0, 2.0)}
    for text in ("", "nonsense", "[]", '{"services": 3}', '{"services": {"a": ["x"]}}'):
        assert parse(text) == {}
    assert heal_plan.WINDOW == 3600
