"""What startup, stop, install and remove set for the next boot. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.jobs.startup_facts import DROPLET, by_id, compose, container, facts, ids, service, stack

from opsctl.jobs.boot import SetBoot, boot_step, plan_boot
from opsctl.jobs.host_install import boot_step as install_step
from opsctl.jobs.host_replay import split
from opsctl.jobs.startup_plan import plan
from opsctl.jobs.startup_select import Options
from opsctl.model.boot import BootState, parse_boot
from opsctl.model.operate import DropletFacts
from opsctl.spine.executor import after

REPLAY = replace(DROPLET, boot="replay")
STACK = stack(service("db", 1), service("app", 2), service("extra", None))


def seen(*names: str, boot: BootState, policy: str = "always", **policies: str) -> DropletFacts:
    found = [replace(container(name), restart_policy=policies.get(name, policy)) for name in names]
    made = facts([compose("db"), compose("app"), compose("extra")], found)
    return replace(made, boot=boot)


def test_the_state_is_read_as_it_was_written() -> None:
    state = BootState(True, {"app": "on-failure:3"}, ("db", "app"))
    assert parse_boot(state.to_text()) == state
    assert "\n" not in state.to_text()
    assert parse_boot("") == parse_boot("{broken") == parse_boot("[]") == BootState()


def test_only_the_first_phase_keeps_its_policy() -> None:
    found = seen("db", "app", "extra", boot=BootState(True))
    made = plan_boot(found, STACK, REPLAY, start=("db",))
    assert made.policies == {"app": "no", "extra": "no"}
    assert made.state == BootState(True, {"app": "always", "extra": "always"}, ("db",))


def test_nothing_is_set_where_nothing_was_installed() -> None:
    found = seen("db", "app", boot=BootState())
    assert boot_step(found, STACK, REPLAY, start=("app",)) is None
    noted = plan(found, STACK, REPLAY, Options(only=("db",)))
    assert any("opsctl host install" in note for note in noted.notes)


def test_a_created_container_gets_its_policy_before_it_is_started() -> None:
    found = seen("db", boot=BootState(True, {}, ("db",)))
    made = plan(found, STACK, REPLAY, Options(only=("db", "app"))).plan
    steps = by_id(made)
    assert steps["boot"].needs == ("create",)
    assert "boot" in steps["start:app"].needs
    assert ids(made).index("boot") < ids(made).index("start:app")
    action = steps["boot"].action
    assert isinstance(action, SetBoot) and action.policies == {"app": "no"}
    assert parse_boot(action.state) == BootState(True, {"app": "always"}, ("db", "app"))


@pytest.mark.parametrize("there", [(), ("db",), ("db", "app"), ("app",), ("extra",)])
@pytest.mark.parametrize("policy", ["no", "always"])
def test_nothing_waits_for_what_waits_for_it(there: tuple[str, ...], policy: str) -> None:
    found = seen(*there, boot=BootState(True), policy=policy)
    three = stack(service("db", 1), service("app", 2), service("late", 3), service("extra", None))
    found = replace(found, compose={**found.compose, "late": compose("late")})
    made = plan(found, three, REPLAY, Options(only=("db", "app", "late", "extra"))).plan
    order, steps = ids(made), by_id(made)
    for step in made.steps:
        assert all(order.index(each) < order.index(step.id) for each in (*step.needs, *after(step))), step
    boots = [step for step in made.steps if isinstance(step.action, SetBoot)]
    set_by = {name: step.id for step in boots for name in step.action.policies}  # type: ignore[attr-defined]
    assert set(set_by) == {"app", "late", "extra"} - (set(there) if policy == "no" else set())
    assert all(set_by[name] in steps[f"start:{name}"].needs for name in set_by if name not in there)


def test_what_is_so_already_needs_no_step() -> None:
    state = BootState(True, {"app": "always"}, ("app", "db"))
    found = seen("db", "app", boot=state, app="no")
    assert boot_step(found, STACK, REPLAY, start=("db", "app")) is None
    down = boot_step(found, STACK, REPLAY, stop=("app",))
    assert down is not None and isinstance(down.action, SetBoot)
    assert parse_boot(down.action.state).up == ("db",) and down.action.policies == {}


def test_a_recreated_container_has_the_files_policy_again() -> None:
    state = BootState(True, {"app": "unless-stopped"}, ("db", "app"))
    found = seen("db", "app", boot=state, app="no")
    step = boot_step(found, STACK, REPLAY, start=("app",), fresh=("app",), needs=("create",))
    assert step is not None and isinstance(step.action, SetBoot)
    assert step.action.policies == {"app": "no"} and parse_boot(step.action.state).policies == {"app": "always"}


def test_boot_docker_gives_the_policies_back_and_forgets() -> None:
    state = BootState(True, {"app": "on-failure:3", "gone": "always"}, ("db", "app"))
    found = seen("db", "app", boot=state, app="no")
    step = boot_step(found, STACK, DROPLET, start=("app",))
    assert step is not None and isinstance(step.action, SetBoot)
    assert step.action.policies == {"app": "on-failure:3"} and step.action.state == ""


def test_the_first_installation_takes_what_runs_for_what_is_to_be_up() -> None:
    step = install_step(seen("db", "app", boot=BootState()), STACK, REPLAY, replay=True)
    assert step is not None and isinstance(step.action, SetBoot)
    assert parse_boot(step.action.state) == BootState(True, {"app": "always"}, ("db", "app"))
    kept = seen("db", "app", boot=parse_boot(step.action.state), app="no")
    assert install_step(kept, STACK, REPLAY, replay=True) is None
    away = install_step(kept, STACK, REPLAY, replay=False)
    assert away is not None and isinstance(away.action, SetBoot)
    assert (away.action.state, away.action.policies) == ("", {"app": "always"})


def test_the_replay_leaves_what_has_no_phase_for_the_end() -> None:
    found = seen("db", boot=BootState(True, {}, ("extra", "app", "db", "no-longer-there")))
    assert split(found, STACK) == (("app", "db"), ("extra",))
