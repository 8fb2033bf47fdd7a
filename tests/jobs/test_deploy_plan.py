"""What a deploy recreates and in which order, from facts alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.jobs.startup_facts import DROPLET, by_id, compose, container, facts, ids, service, stack

from opsctl.jobs.deploy_drift import mounted_changes, recreated
from opsctl.jobs.deploy_options import Options
from opsctl.jobs.deploy_plan import plan_deploy
from opsctl.jobs.deploy_refuse import Move, moves, refuse_moves, refuse_volumes
from opsctl.jobs.deploy_tidy import tidied
from opsctl.model.boot import BootState
from opsctl.model.deploy import Release, ReleaseImage, Source, StagedFile, Survey
from opsctl.model.engine import Container
from opsctl.model.errors import StepFailed
from opsctl.model.plan import Plan
from opsctl.spine.executor import after

PLACE = Source("place", "/")
CURRENT = Release("20261101-0", "done", True, "", "", "", "", "", "", (), ())


def there(name: str, *, hash_: str = "old", status: str = "running") -> Container:
    return replace(container(name, status), config_hash=hash_, image_id=f"sha-{name}")


def survey(*containers: Container, drift: tuple[str, ...] = (), **more: Any) -> Survey:
    services = [compose("db"), compose("app", {"db": "service_started"}), compose("web", {"app": "service_started"})]
    found = facts(services, list(containers), drift=frozenset(drift))
    model = {"services": {each.name: {"image": each.image} for each in services}}
    values: dict[str, Any] = {
        "facts": found,
        "hashes": {each.service: each.config_hash for each in containers},
        "old_model": model,
        "model": model,
        "old_raw": {},
        "raw": {},
        "files": (),
        "images": {f"{each.name}:1": f"sha-{each.name}" for each in services},
        "volumes": {},
        "mounts": {},
        "releases": (CURRENT,),
    }
    return Survey(**{**values, **more})


def planned(found: Survey, options: Options | None = None, **droplet: Any) -> Plan:
    every = stack(service("db", 1), service("app", 2), service("web", 3))
    where = replace(DROPLET, **droplet)
    return plan_deploy(found, every, where, PLACE, options or Options()).planned.plan


ALL = (there("db"), there("app"), there("web"))


def test_what_only_depends_on_a_recreated_service_is_left_alone() -> None:
    found = survey(*ALL, drift=("db", "app", "web"), hashes={"db": "new", "app": "old", "web": "old"})
    assert recreated(found, found.images) == {"db": "its configuration differs"}
    moved = replace(found, hashes=dict.fromkeys(("db", "app", "web"), "old"))
    assert recreated(moved, {**found.images, "app:1": "sha-other"}) == {
        "db": "compose says that it differs",
        "app": "its image is another one",
    }


def test_where_compose_hashes_otherwise_its_dry_run_is_believed() -> None:
    found = survey(*ALL, drift=("db",), hashes={"db": "x", "app": "y", "web": "z"})
    assert recreated(found, found.images) == {"db": "compose says that it differs"}


def test_each_phase_is_recreated_before_its_own_memory_gate_and_after_the_phase_before() -> None:
    plan = planned(survey(*ALL, drift=("db", "web"), hashes={"db": "new", "app": "old", "web": "new"}))
    steps = by_id(plan)
    assert "adopt" not in ids(plan) or ids(plan).index("adopt") < ids(plan).index("begin")
    order = ["room", "begin", "recreate:db", "memory:1", "start:db", "gate:db", "recreate:web", "start:web", "finish"]
    assert [each for each in ids(plan) if each in order] == order
    assert "gate:app" in steps["recreate:web"].needs and "recreate:web" in steps["memory:3"].needs
    assert steps["gate:app"].needs == ("gate:db",), "what stays is asked after what it may suffer from"
    assert "recreate:app" not in steps
    assert ids(plan) == ids(
        planned(survey(*ALL, drift=("db", "web"), hashes={"db": "new", "app": "old", "web": "new"}))
    )


def test_what_may_fail_is_over_before_the_new_state_is_kept() -> None:
    """Its container is kept, too, and half recreated it has no image yet."""
    found = survey(*ALL, drift=("db", "web"), hashes={"db": "new", "app": "old", "web": "new"})
    every = stack(service("db", 1), service("app", 2), replace(service("web", 3), optional=True))
    finish = by_id(plan_deploy(found, every, DROPLET, PLACE, Options()).planned.plan)["finish"]
    assert "gate:db" in finish.needs and "recreate:web" not in finish.needs
    assert set(after(finish)) >= {"recreate:web", "start:web", "gate:web"}


def test_nothing_to_do_plans_nothing_that_changes() -> None:
    plan = planned(survey(*ALL))
    assert {step.action.kind for step in plan.steps} == {"gate"}


def test_what_was_edited_for_this_very_run_is_no_release_to_go_back_to() -> None:
    current = replace(CURRENT, moved=("/c.yml",))
    waits = survey(*ALL, drift=("db",), hashes={"db": "new", "app": "old", "web": "old"}, releases=(current,))
    assert "begin" in ids(planned(waits)) and "adopt" not in ids(planned(waits))
    # With the edit brought in by hand, and an image exchanged as well, what runs is kept nowhere yet.
    runs = replace(waits, releases=(replace(current, images=(ReleaseImage("app", "app:1", "sha-before"),)),))
    assert "adopt" in ids(planned(runs))
    every = stack(service("db", 1), service("app", 2), service("web", 3))
    pushed = plan_deploy(waits, every, DROPLET, Source("push", "/"), Options()).planned.plan
    assert "adopt" in ids(pushed), "a push puts another file over the edited one"
    # Cut short, or failed: the edit is in no release yet.
    begun = replace(CURRENT, id="20261102-0", status="begun", current=False, source="the files on the droplet")
    failed = replace(waits, releases=(begun, current))
    back = plan_deploy(failed, every, DROPLET, Source("release"), Options(), command="rollback", release=current)
    assert "adopt" in ids(back.planned.plan) and "adopt" not in ids(planned(failed))
    theirs = replace(failed, releases=(replace(begun, source="pushed /home/me"), current))
    back = plan_deploy(theirs, every, DROPLET, Source("release"), Options(), command="rollback", release=current)
    assert "adopt" not in ids(back.planned.plan)


def test_what_is_stopped_is_recreated_and_stays_stopped() -> None:
    down = there("web", status="exited")
    plan = planned(
        survey(there("db"), there("app"), down, drift=("web",), hashes={"db": "old", "app": "old", "web": "n"})
    )
    assert "recreate:web" in ids(plan) and "start:web" not in ids(plan)


def test_a_run_that_was_cut_short_is_brought_to_its_end() -> None:
    begun = replace(CURRENT, id="20261102-0", status="begun", current=False, up=("web",), restart=("db",))
    found = survey(there("db"), there("app"), there("web", status="created"), releases=(begun, CURRENT))
    plan = planned(found)
    assert "start:web" in ids(plan) and "stop:db" in ids(plan) and "start:db" in ids(plan)


def test_what_is_made_anew_gets_the_policy_of_a_boot_before_it_is_started() -> None:
    found = survey(*ALL, drift=("app",), hashes={"db": "old", "app": "new", "web": "old"})
    state = BootState(True, {"app": "always", "web": "always"}, ("db", "app", "web"))
    running = tuple(replace(each, restart_policy="no" if each.service != "db" else "always") for each in ALL)
    found = replace(found, facts=replace(found.facts, boot=state, containers=running))
    steps = by_id(planned(found, boot="replay"))
    assert steps["boot"].needs == ("recreate:app",) and "boot" in steps["start:app"].needs


def test_what_a_killed_compose_left_is_tidied_up() -> None:
    half = replace(there("app", status="created"), id="new", name="0123456789ab_p-app-1")
    both = tidied(survey(there("db"), there("app"), half))
    assert both.half.removes == (("app", "new"),) and not both.half.renames
    assert both.facts.of("app") == there("app")
    alone = tidied(survey(there("db"), half))
    assert alone.half.renames == (("new", "p-app-1"),) and not alone.half.removes
    assert "tidy" in ids(planned(alone))
    assert not tidied(survey(*ALL)).half


def test_a_service_with_a_changed_file_mounted_is_started_anew() -> None:
    model = {"services": {"web": {"image": "web:1", "volumes": [{"type": "bind", "source": "/etc/w", "target": "/c"}]}}}
    found = survey(*ALL, model=model, files=(StagedFile("/etc/w/a.conf", "1", "2", "644"),))
    assert mounted_changes(found) == {"web": "/etc/w/a.conf"}
    plan = planned(found)
    assert "stop:web" in by_id(plan)["memory:3"].needs and "recreate:web" not in ids(plan)


def test_data_that_would_be_left_behind_is_refused() -> None:
    mounts = {"id-db": ({"Destination": "/data", "Source": "/old", "RW": True, "Type": "bind"},)}
    model = {"services": {"db": {"volumes": [{"type": "bind", "source": "/new", "target": "/data"}]}}}
    found = survey(*ALL, model=model, mounts=mounts)
    (move,) = moves(found, ("db", "app"))
    assert move == Move("db", "/data", "/old", "/new")
    with pytest.raises(StepFailed, match="empty"):
        refuse_moves([move], {"/old": "full", "/new": "empty"}, ("db",), "opsctl deploy")
    with pytest.raises(StepFailed, match="other data"):
        refuse_moves([move], {"/old": "full", "/new": "full"}, (), "opsctl deploy")
    refuse_moves([move], {"/old": "full", "/new": "full"}, ("db",), "opsctl deploy")
    refuse_moves([move], {"/old": "empty", "/new": "empty"}, (), "opsctl deploy")


def test_other_driver_options_of_a_volume_that_exists_are_refused() -> None:
    volumes = {"p_data": {"Name": "p_data", "Driver": "local", "Options": None}}
    refuse_volumes(survey(model={"volumes": {"data": {"name": "p_data"}}}, volumes=volumes))
    with pytest.raises(StepFailed, match="data would be lost"):
        refuse_volumes(survey(model={"volumes": {"data": {"driver_opts": {"o": "bind"}}}}, volumes=volumes))


def test_an_image_that_is_missing_is_refused_unless_it_is_fetched() -> None:
    found = survey(*ALL, drift=("app",), hashes={"db": "old", "app": "new", "web": "old"}, images={"db:1": "sha-db"})
    with pytest.raises(StepFailed, match="app:1"):
        planned(found)
    assert "images:pull" in ids(planned(found, Options(pull=True)))
