"""The second stack: a droplet with a real Weaviate beside the one with the agents, under one stack file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Opsctl, engine_missing

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.stack import Droplet, Service, Stack
from opsctl.sandbox import vector
from opsctl.sandbox.paths import tools_dir
from opsctl.sandbox.stackfile import text
from opsctl.sandbox.store import APP, VECTOR, plan

NAME = f"vec-{os.getpid()}"


def test_services_belong_to_the_droplet_that_names_them() -> None:
    app, node = Droplet("app", "local"), Droplet("node", "local", services=("weaviate",))
    stack = Stack(None, {"app": app, "node": node}, {name: Service(name) for name in ("redis", "weaviate")})
    assert list(stack.on(app).services) == ["redis"] and list(stack.on(node).services) == ["weaviate"]
    alone = Stack(None, {"app": app}, stack.services)
    assert alone.on(app) is alone


def test_the_node_is_one_droplet_more_and_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPSCTL_SANDBOX_STATE", str(tmp_path))
    first = plan("x", "container", None, 2**31, None)
    assert (first.stack, [spec.name for spec in first.droplets]) == (APP, ["x"])
    more = plan("x", "container", None, 2**31, first, VECTOR)
    assert (more.stack, [spec.name for spec in more.droplets]) == (VECTOR, ["x", "x-vector"])
    again = plan("x", "container", 2, 2**31, more)
    assert [spec.name for spec in again.droplets] == ["x", "x-2", "x-vector"] and again.vector == more.vector
    assert len({spec.port for spec in again.droplets}) == 3
    plain = text(first.folder, first.droplets)
    assert "weaviate" not in plain and plain == text(first.folder, first.droplets, vector=None)


def test_without_go_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="cannot be built here") as caught:
        vector.ready(lambda _: None, Cancel())
    assert "Go is not installed" in caught.value.info.why and str(tools_dir()) in caught.value.info.why


@pytest.fixture(scope="module")
def two(sandbox_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opsctl]:
    """A sandbox with both stacks."""
    if reason := engine_missing():
        pytest.skip(reason)
    if not (tools_dir() / f"weaviate-server-{vector.VERSION}").is_file():
        pytest.skip("no Weaviate has been built here yet")
    opsctl = Opsctl(dict(sandbox_environment), tmp_path_factory.mktemp("vector"))
    up = ("sandbox", "up", "--kind", "container", "--name", NAME, "--stack", "vector")
    assert opsctl(*up, timeout=900).returncode == 0
    try:
        shown = opsctl.json("sandbox", "status", "--name", NAME)["droplets"][0]["result"]
        yield Opsctl({**sandbox_environment, "OPSCTL_STACK": shown["stack_file"]}, opsctl.folder)
    finally:
        opsctl("sandbox", "down", "--name", NAME)


@pytest.mark.sandbox
@pytest.mark.timeout(900)
def test_weaviate_answers_through_its_droplet_and_each_droplet_has_its_own_services(two: Opsctl) -> None:
    started = two("startup", "-d", f"{NAME}-vector")
    assert started.returncode == 0, started.stderr
    status = two.json("status")
    services = {each["name"]: {row["name"] for row in each["result"]["services"]} for each in status["droplets"]}
    assert services[f"{NAME}-vector"] == {"weaviate"} and "weaviate" not in services[NAME]
    asked = two.json("collections", "status")
    assert "1.35.2" in json.dumps(asked), asked
