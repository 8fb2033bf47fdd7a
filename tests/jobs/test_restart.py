"""What `restart` would do."""

from __future__ import annotations

from tests.jobs.startup_facts import DROPLET, by_id, compose, container, facts, ids, service, stack

from opsctl.jobs.restart import plan_restart
from opsctl.jobs.startup_plan import Planned
from opsctl.jobs.startup_select import Options
from opsctl.model.operate import DropletFacts
from opsctl.model.stack import Then

SERVICES = [compose("db"), compose("app", {"db": "service_healthy"})]
UP = [container("db", health="healthy"), container("app", health="healthy")]


def planned(found: DropletFacts, name: str = "db") -> Planned:
    wanted = stack(service("db", then=(Then("command", ("true",)),)), service("app", 2))
    return plan_restart(found, wanted, DROPLET, Options(only=(name,)))


def test_stop_then_memory_then_start_then_gate_then_what_follows() -> None:
    plan = planned(facts(SERVICES, UP)).plan
    assert ids(plan) == ["stop:db", "memory:1", "start:db", "gate:db", "then:db:1"]
    assert by_id(plan)["memory:1"].needs == ("stop:db",)


def test_what_is_stopped_already_is_just_started() -> None:
    assert ids(planned(facts(SERVICES, [container("db", "exited")])).plan)[0] == "memory:1"


def test_what_does_not_exist_is_created() -> None:
    assert ids(planned(facts(SERVICES)).plan)[0] == "create"


def test_who_depends_on_it_is_told() -> None:
    assert planned(facts(SERVICES, UP)).notes == ("app depends on db: it may notice",)
    assert planned(facts(SERVICES, UP), "app").notes == ()
