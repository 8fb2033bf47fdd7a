"""What the facts of a droplet mean: states, what should run, what is wrong and what to type."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from opsctl.jobs.status import judge, reached_phase, starting
from opsctl.model.engine import (
    Begun,
    ComposeService,
    Container,
    EngineInfo,
    HealthResult,
    MemInfo,
    ProbeState,
    StackFacts,
)
from opsctl.model.jsonable import to_jsonable
from opsctl.model.stack import Droplet, Service, Stack
from opsctl.model.status import Level, ServiceStatus, Status
from opsctl.render.status import print_status, verdict

NOW = datetime(2026, 9, 21, 13, 33, 20, tzinfo=UTC).timestamp()
DROPLET = Droplet("agents", "root@203.0.113.7")
PHASES = {"postgres": 1, "gateway": 1, "orchestrator": 2, "review": 3}


def container(service: str, **more: Any) -> Container:
    values: dict[str, Any] = {
        "id": f"id-{service}",
        "name": f"deploy-{service}-1",
        "service": service,
        "project": "deploy",
        "image": f"devtools/{service}:1",
        "image_id": "sha256:1",
        "status": "running",
        "health": "healthy",
        "health_log": (),
        "exit_code": 0,
        "oom_killed": False,
        "error": "",
        "restart_count": 0,
        "restart_policy": "always",
        "started_at": "2026-09-21T13:30:20.123456789Z",
        "finished_at": "2026-09-21T13:32:20Z",
        "pid": 1,
        "memory_limit": 0,
        "ports": {},
        "addresses": (),
        "config_hash": "",
        "working_dir": "",
        "config_files": (),
    }
    return Container(**{**values, **more})


def compose(name: str, **more: Any) -> ComposeService:
    values: dict[str, Any] = {"depends_on": {}, "ports": {}, "health_test": (), "memory_limit": 0, "restart": "always"}
    return ComposeService(name, f"devtools/{name}:1", False, **{**values, "profiles": (), **more})


def facts(*containers: Container, **more: Any) -> StackFacts:
    values: dict[str, Any] = {
        "engine": EngineInfo("26.1.5", "2.26.1", False, False, "2", "systemd", "/var/lib/docker", ""),
        "memory": MemInfo(2 * 10**9, 10**9, 10**9, 0, 0),
        "boot_id": "b",
        "uptime": 60.0,
        "project": "deploy",
        "compose_files": ("/opt/docker-compose.yml",),
        "compose": {name: compose(name) for name in PHASES},
        "containers": containers,
        "drift": frozenset(),
        "missing_images": frozenset(),
        "file_hash": "",
    }
    return StackFacts(**{**values, **more})


def stack(**more: dict[str, Any]) -> Stack:
    services = {name: Service(name, phase=phase, **more.get(name, {})) for name, phase in PHASES.items()}
    return Stack(None, {"agents": DROPLET}, services)


def look(*containers: Container, stack_: Stack | None = None, **more: Any) -> Status:
    return judge(facts(*containers, **more), stack_ or stack(), DROPLET, {"id-postgres": 32_000_000}, NOW)


def of(status: Status, name: str) -> ServiceStatus:
    return next(each for each in status.services if each.name == name)


def test_all_that_should_run_runs() -> None:
    found = look(container("postgres"), container("gateway"))
    assert found.healthy
    assert found.phase == 1
    assert [(each.name, each.level) for each in found.services] == [
        ("postgres", Level.OK),
        ("gateway", Level.OK),
        ("orchestrator", Level.IDLE),
        ("review", Level.IDLE),
    ]
    postgres = of(found, "postgres")
    assert (postgres.state, postgres.since, postgres.memory) == ("healthy", pytest.approx(179.9, abs=0.1), 32_000_000)


def test_nothing_runs_and_nothing_is_wrong() -> None:
    found = look()
    assert found.healthy
    assert found.phase == 0
    assert {each.state for each in found.services} == {"not created"}


def test_a_stopped_service_of_a_started_phase_is_wrong() -> None:
    found = look(container("postgres"), container("gateway", status="exited", health="", exit_code=0))
    assert not found.healthy
    assert [(each.service, each.next) for each in found.problems] == [("gateway", "opsctl startup --phase 1")]
    assert of(found, "gateway").since == pytest.approx(60)


def test_a_stopped_service_of_a_later_phase_is_not() -> None:
    found = look(
        container("postgres"),
        container("gateway"),
        container("orchestrator", status="exited", health="", exit_code=143),
    )
    assert found.healthy
    assert of(found, "orchestrator").state == "stopped"


def test_an_optional_service_may_be_missing_but_not_crash() -> None:
    optional = stack(review={"optional": True})
    up = [container(name) for name in ("postgres", "gateway", "orchestrator")]
    assert look(*up, stack_=optional).healthy
    crashed = container("review", status="exited", health="", exit_code=1, error="")
    assert not look(*up, crashed, stack_=optional).healthy


def test_optional_services_that_are_down_are_named() -> None:
    services = {**stack().services, "extra": Service("extra", phase=3, optional=True)}
    services["review"] = replace(services["review"], optional=True)
    up = [container(name) for name in ("postgres", "gateway", "orchestrator")]
    services["late"] = Service("late", phase=3)
    more: dict[str, Any] = {
        "stack_": replace(stack(), services=services),
        "compose": {name: compose(name) for name in services},
    }
    (line,) = verdict(look(*up, **more))
    assert "run:" not in line.plain  # their phase was not started
    (line,) = verdict(look(*up, container("late"), **more))
    assert line.plain.endswith("4 services up; 2 optional ones do not run: review, extra")


def test_services_come_in_the_order_in_which_they_start() -> None:
    names = {"z": (1, True), "y": (1, False), "b": (2, False), "a": (1, False)}
    services = {name: Service(name, phase=phase, one_by_one=alone) for name, (phase, alone) in names.items()}
    found = look(stack_=replace(stack(), services=services), compose={name: compose(name) for name in (*names, "c")})
    assert [each.name for each in found.services] == ["y", "a", "z", "b", "c"]


def test_restarts_have_a_column_where_there_are_any(capsys: pytest.CaptureFixture[str]) -> None:
    print_status("agents", look(container("postgres"), container("gateway")))
    assert "restarts" not in capsys.readouterr().out
    print_status("agents", look(container("postgres"), container("gateway", restart_count=2)))
    screen = capsys.readouterr().out.splitlines()
    assert [line for line in screen if line.startswith("phase") and "restarts" in line]
    assert [line for line in screen if line.split()[:1] == ["gateway"] and "2" in line.split()]


@pytest.mark.parametrize(
    ("more", "state", "words"),
    [
        ({"status": "exited", "health": "", "exit_code": 137, "oom_killed": True}, "OOM-killed", "ran out of memory"),
        ({"status": "exited", "health": "", "exit_code": 1}, "exited 1", "ended with status 1"),
        ({"status": "exited", "health": "", "exit_code": 137}, "killed", "was killed"),
        ({"status": "restarting", "health": "", "exit_code": 3, "restart_count": 9}, "restarting", "9 restarts"),
        ({"status": "paused", "health": ""}, "paused", "is paused"),
        ({"status": "dead", "health": ""}, "dead", "is dead"),
        ({"status": "created", "health": ""}, "created", "does not run"),
        (
            {"health": "unhealthy", "health_log": (HealthResult(1, "connection refused\nmore", ""),)},
            "unhealthy",
            "connection refused",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_type(more: dict[str, Any], state: str, words: str) -> None:
    found = look(container("postgres"), container("gateway", **more))
    assert of(found, "gateway").state == state
    assert of(found, "gateway").level is Level.BAD
    (problem,) = found.problems
    assert words in problem.text
    assert problem.next


def test_a_crash_loop_is_one_while_the_service_is_up() -> None:
    just_now = {"started_at": "2026-09-21T13:33:10Z", "restart_count": 5}
    found = look(container("postgres"), container("gateway", **just_now))
    assert of(found, "gateway").level is Level.BAD
    assert "again and again" in found.problems[0].text


def test_an_old_crash_is_a_warning() -> None:
    found = look(container("postgres"), container("gateway", restart_count=1))
    assert found.healthy
    assert [each.level for each in found.problems] == ["warning"]


def test_what_docker_calls_starting_is_asked_itself() -> None:
    containers = (container("postgres"), container("gateway", health="starting"))
    assert starting(facts(*containers)) == {"gateway"}
    waiting = judge(facts(*containers), stack(), DROPLET, {}, NOW, {"gateway": ProbeState("gateway", "timeout", "503")})
    assert not waiting.healthy
    assert "503" in waiting.problems[0].text
    up = judge(facts(*containers), stack(), DROPLET, {}, NOW, {"gateway": ProbeState("gateway", "passed", "HTTP 200")})
    assert up.healthy
    assert of(up, "gateway").state == "answering"


def test_a_one_shot_service_is_done() -> None:
    services = {name: compose(name) for name in PHASES}
    services["orchestrator"] = compose("orchestrator", depends_on={"gateway": "service_completed_successfully"})
    found = look(container("postgres"), container("gateway", status="exited", health="", exit_code=0), compose=services)
    assert of(found, "gateway").state == "done"
    assert found.healthy


def test_no_container_is_dropped() -> None:
    strangers = (
        replace(container("x", id="1", name="stray", project=""), service=""),
        container("web", id="2", name="shop-web-1", project="shop"),
        container("gateway", id="3", name="deploy-gateway-run-1", oneoff=True),
        container("gone", id="4", name="deploy-gone-1"),
        container("postgres", id="5", name="deploy-postgres-2"),
    )
    found = look(container("postgres"), *strangers)
    assert {each.name: each.reason for each in found.others} == {
        "stray": "outside compose",
        "shop-web-1": "project shop",
        "deploy-gateway-run-1": "one-off of gateway",
        "deploy-gone-1": "no longer in the compose file",
        "deploy-postgres-2": "one more of postgres",
    }


def test_drift_missing_images_and_a_service_that_compose_lacks() -> None:
    extra = stack()
    extra = replace(extra, services={**extra.services, "ghost": Service("ghost", phase=1)})
    found = look(
        container("postgres"),
        container("gateway"),
        stack_=extra,
        drift=frozenset({"gateway"}),
        missing_images=frozenset({"review"}),
    )
    assert of(found, "gateway").differs
    assert of(found, "review").state == "no image"
    assert of(found, "ghost").state == "not in the compose file"
    assert [each.level for each in found.problems] == ["failed", "warning"]


def test_ports_say_whether_they_are_open_to_the_world() -> None:
    ports = {8000: ("127.0.0.1", 8000), 80: ("0.0.0.0", 8080), 443: ("", 443)}
    assert of(look(container("gateway", ports=ports)), "gateway").ports == ("*:8080→80", "*:443", "8000")


def test_little_memory_is_a_warning() -> None:
    found = look(container("postgres"), container("gateway"), memory=MemInfo(2 * 10**9, 10**8, 10**8, 0, 0))
    assert [each.level for each in found.problems] == ["warning"]
    assert "reserve" in found.problems[0].text


def test_the_phase_reached_is_the_highest_with_something_up() -> None:
    assert reached_phase(facts(container("orchestrator", status="exited")), stack()) == 0
    assert reached_phase(facts(container("orchestrator")), stack()) == 2


def test_it_is_plain_json() -> None:
    shown = to_jsonable(look(container("postgres")))
    assert [each["level"] for each in shown["services"][:2]] == ["ok", "bad"]
    assert shown["healthy"] is False


BEGUN = Begun("20261102-1", False, False, "20261101-0", "opsctl deploy --push deploy", ("postgres", "review"))
OPTIONAL = {"review": {"optional": True}}


def begun(**more: Any) -> tuple[Status, str]:
    """What is said while a release is not finished, and the container of a service, an optional one, does not run."""
    review = container("review", status="exited", health="", exit_code=0)
    up = [container(name) for name in ("postgres", "gateway", "orchestrator")]
    found = look(
        *up, review, container("more"), stack_=stack(**OPTIONAL), begun=replace(BEGUN, **more), drift={"review"}
    )
    return found, "\n".join(line.plain for line in verdict(found))


def test_an_unfinished_release_is_no_health_and_says_how_to_go_on_and_back() -> None:
    found, said = begun()
    assert not found.healthy and "✓" not in said and "docker compose" not in said
    assert said.splitlines()[:3] == [
        "✗ release 20261102-1 is not finished: review does not run",
        "  next opsctl deploy --resume   # goes on",
        "       opsctl rollback   # goes back; env files stay, unless --with-env",
    ]
    assert said.splitlines()[3:] == ["! not as the compose file says now: review"], "the release's next is the one"


@pytest.mark.parametrize(
    ("more", "healthy", "says", "hides"),
    [
        # A first deploy: there is nothing to go back to.
        ({"current": ""}, False, "opsctl deploy --resume", "rollback"),
        ({"command": "opsctl playbook run x"}, False, "opsctl playbook run x   # goes on", "--resume"),
        ({"back": True}, False, "the rollback to release 20261102-1 is not finished: review", "deploy"),
        # What it was to bring up is up: worth a word, and no alarm.
        ({"up": ("postgres",)}, True, "release 20261102-1 is not finished\n", "do not run"),
        ({"busy": True}, True, "being brought in right now", "opsctl rollback"),
    ],
)
def test_what_is_said_of_an_unfinished_release(more: dict[str, Any], healthy: bool, says: str, hides: str) -> None:
    found, said = begun(**more)
    assert found.healthy is healthy
    assert says in said and hides not in said


def test_a_start_is_not_offered_for_what_a_release_was_to_bring_up() -> None:
    gateway = container("gateway", status="exited", health="", exit_code=0)
    found = look(container("postgres"), gateway, begun=replace(BEGUN, up=("postgres", "gateway")))
    assert [each.next.splitlines()[:1] for each in found.problems] == [["opsctl deploy --resume   # goes on"], []]
