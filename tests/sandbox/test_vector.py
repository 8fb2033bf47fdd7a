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
    proved = two.json("validate", "-d", NAME, "vectors-answer", "--within", "2m")
    (probe,) = proved["droplets"][0]["result"]["probes"]
    assert (proved["exit_code"], probe["name"], probe["passed"]) == (0, "vectors-answer", True), proved


OWN = "collections: {Notes: {vectors: {minilm: {width: 6}}, properties: {text: text, extra: text}}}\n"
FILL = """for i=1,8 do redis.call('SET','memory:'..i,cjson.encode({text='t'..i,embedding={1,2,3,4,5,i,7,8,9}})) end"""


@pytest.mark.sandbox
@pytest.mark.timeout(900)
@pytest.mark.parametrize("beside", [True, False], ids=["beside the stack file", "named"])
def test_a_declaration_of_ones_own_goes_along_to_the_droplet(two: Opsctl, tmp_path: Path, beside: bool) -> None:
    """It declares 6 numbers and the items have 9: the droplet refuses them only if it has the file."""
    node = f"{NAME}-vector"
    assert two("startup", "-d", node).returncode == 0
    stack = tmp_path / "opsctl.yaml"
    kept = Path(two.environment["OPSCTL_STACK"]).read_text()
    stores = f'stores:\n  notes: {{redis: "redis://127.0.0.1:6390", via: {node}}}\n'
    stack.write_text(kept.replace("stores:\n", stores, 1))
    declared = tmp_path / ("collections.yaml" if beside else "mine.yaml")
    declared.write_text(f"version: 1\n{OWN}")
    typed = Opsctl({**two.environment, "OPSCTL_STACK": str(stack)}, tmp_path)
    named = () if beside else ("--collections", "mine.yaml")
    on = ("sandbox", "ssh", "--name", NAME, "-d", node, "--")
    made = "docker run -d --name notes -p 127.0.0.1:6390:6379 devtools/redis:8"
    try:
        assert typed(*on, made).returncode == 0
        filled = typed(
            *on, f'for _ in 1 2 3 4 5; do docker exec notes redis-cli eval "{FILL}" 0 && break; sleep 1; done'
        )
        assert filled.returncode == 0, filled.stderr
        words = ("dragonfly-to-weaviate", "--from", "notes", "--to", "vectors", "--vectors", "precomputed")
        schema = (
            '{"class": "Notes", "vectorConfig": {"minilm": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}},'
        )
        schema += '"properties": [{"name": "text", "dataType": ["text"]}, {"name": "extra", "dataType": ["text"]}]}'
        post = f"curl -sf -X POST -H 'Content-Type: application/json' -d '{schema}' http://127.0.0.1:8080/v1/schema"
        assert typed(*on, post).returncode == 0
        done = typed("migrate", *words, "--collection", "Notes", *named, "--on", node, "--yes")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "vectors of the items do not fit" in done.stdout
        said = typed(*on, "cat /var/lib/opsctl/migrations/2*/log").stdout
        assert "the vector minilm has 9 numbers, and Notes keeps 6" in " ".join(said.split())
    finally:
        typed(*on, "docker rm -fv notes; curl -s -X DELETE http://127.0.0.1:8080/v1/schema/Notes")
