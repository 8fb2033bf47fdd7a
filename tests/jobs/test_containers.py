"""Which container a name means."""

from __future__ import annotations

import pytest

from opsctl.jobs.containers import Containers, Found, engine_error, parse, running, stack_project
from opsctl.model.errors import OpsError, UnreachableError, UsageError
from opsctl.model.stack import Droplet, Service, Stack

DROPLET = Droplet("agents", "local")


def found(name: str, service: str = "", project: str = "", **more: object) -> Found:
    values: dict[str, object] = {"state": "running", "status": "Up", "image": "i", "oneoff": False, "config_files": ()}
    return Found(id=f"{name}0123456789", name=name, project=project, service=service, **{**values, **more})  # type: ignore[arg-type]


ALL = (
    found("deploy-redis-1", "redis", "deploy"),
    found("deploy-redis-run-1", "redis", "deploy", oneoff=True),
    found("shop-redis-1", "redis", "shop"),
    found("shop-web-1", "web", "shop"),
    found("stray"),
)


@pytest.fixture
def containers() -> Containers:
    return Containers(ALL, "deploy", ("redis", "loki"))


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("redis", "deploy-redis-1"),
        ("shop-redis-1", "shop-redis-1"),
        ("deploy-redis-run-1", "deploy-redis-run-1"),
        ("stray", "stray"),
        ("stray0123", "stray"),
        ("web", "shop-web-1"),
    ],
)
def test_a_name_means(containers: Containers, name: str, means: str) -> None:
    assert [each.name for each in containers.named(name)] == [means]


def test_an_unknown_name_gets_the_nearest(containers: Containers) -> None:
    with pytest.raises(UsageError) as caught:
        containers.named("rediss")
    assert "redis" in caught.value.info.why


def test_a_service_without_container_says_how_to_make_it(containers: Containers) -> None:
    with pytest.raises(OpsError) as caught:
        containers.named("loki")
    assert caught.value.info.next == "opsctl startup --only loki"


def test_the_stacks_own_leave_one_offs_out(containers: Containers) -> None:
    assert [each.name for each in containers.of_stack()] == ["deploy-redis-1"]


@pytest.mark.parametrize(
    ("state", "typed"), [("exited", "startup --only redis"), ("restarting", "logs redis"), ("paused", "unpause")]
)
def test_commands_run_only_in_what_runs(state: str, typed: str) -> None:
    assert running(ALL[0]) is ALL[0]
    with pytest.raises(OpsError) as caught:
        running(found("deploy-redis-1", "redis", "deploy", state=state))
    assert typed in caught.value.info.next


def test_the_stacks_project() -> None:
    named = Stack(None, {}, {"web": Service("web"), "redis": Service("redis")})
    nothing = Stack(None, {}, {})
    assert stack_project(ALL, named, DROPLET) == "shop"
    assert stack_project(ALL, named, Droplet("a", "local", project="deploy")) == "deploy"
    assert stack_project(ALL, nothing, DROPLET) == ""
    assert stack_project(ALL[:2], nothing, DROPLET) == "deploy"
    of_file = (*ALL, found("x-1", "x", "filed", config_files=("/opt/compose.yml",)))
    assert stack_project(of_file, named, Droplet("a", "local", compose=("/opt/compose.yml",))) == "filed"


def test_a_listing_is_read_and_noise_left_out() -> None:
    line = "\t".join(("abc", "deploy-redis-1", "running", "Up", "redis:8", "deploy", "redis", "False", "/a.yml,/b.yml"))
    (one,) = parse(f"a warning\n{line}\n")
    assert (one.label, one.oneoff, one.config_files) == ("redis", False, ("/a.yml", "/b.yml"))


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (127, "bash: docker: command not found", "no-docker"),
        (1, "permission denied while trying to connect to the Docker daemon socket", "socket-permission"),
        (1, "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "engine-down"),
    ],
)
def test_what_docker_says_is_told_with_what_mends_it(code: int, said: str, kind: str) -> None:
    error = engine_error(code, said)
    assert isinstance(error, UnreachableError)
    assert error.info.code == kind
    assert error.info.next
