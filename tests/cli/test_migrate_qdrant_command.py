"""`opsctl migrate qdrant-to-cloud` as a user types it, between two servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models
from tests.conftest import Opsctl
from tests.stores.qdrant_server import Standin, cloud_server, local_server

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used")
STACK = """version: 1
stores:
  local: {{qdrant: "{local}"}}
  cloud: {{qdrant: "{cloud}", api_key: "${{CLOUD_KEY}}"}}
  wrong: {{qdrant: "{cloud}", api_key: nobody}}
  gone: {{qdrant: "http://127.0.0.1:9"}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Standin, Standin]]:
    local, cloud = local_server(), cloud_server(tmp_path_factory.mktemp("cloud"))
    yield local, cloud
    local.kill()
    cloud.kill()


@pytest.fixture
def typed(servers: tuple[Standin, Standin], tmp_path: Path) -> Opsctl:
    """opsctl with both servers in its stack file, the target empty, and a state folder of its own."""
    local, cloud = servers
    cloud.faults()
    for server in servers:
        server.clear()
    client = local.client()
    client.create_collection("the-shop", models.VectorParams(size=8, distance=models.Distance.COSINE))
    points = [models.PointStruct(id=n, vector=[1.0, n, *[0.5] * 6], payload={"n": n}) for n in range(400)]
    client.upsert("the-shop", points)
    (tmp_path / "opsctl.yaml").write_text(STACK.format(local=local.url, cloud=cloud.url))
    return Opsctl({"CLOUD_KEY": cloud.api_key, "XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path)


def copy(typed: Opsctl, *words: str, to: str = "cloud") -> dict[str, Any]:
    return typed.json("migrate", "qdrant-to-cloud", "--from", "local", "--to", to, *words)


def receipt(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["droplets"][0]["result"]["receipt"]
    return found


def test_look_copy_again_and_back(typed: Opsctl, servers: tuple[Standin, Standin]) -> None:
    local, cloud = servers
    looked = copy(typed, "--dry-run")
    preview = looked["droplets"][0]["result"]["preview"]
    assert (preview["records"], preview["groups"]) == (400, {"the-shop": 400})
    assert not cloud.client().get_collections().collections
    first = receipt(copy(typed))
    assert (first["outcome"], first["counts"]["verified"]) == ("complete", 400)
    assert first["wanted_checksum"] == first["stored_checksum"]
    assert "the-shop: 400 points here, 400 there; 100 of 100 looked at again are the same" in first["notes"]
    assert any(note.endswith("--switch SERVICE") for note in first["notes"])
    local.client().upsert("the-shop", [models.PointStruct(id=5, vector=[9.0] * 8, payload={"n": 5})])
    second = receipt(copy(typed))
    assert (second["counts"]["verified"], second["counts"]["unchanged"]) == (1, 399)
    back = typed.json("migrate", "rollback", first["run_id"], "--yes")
    assert back["exit_code"] == 0, back
    assert cloud.client().count("the-shop").count == 1
    assert local.client().count("the-shop").count == 400


def test_finish_deletes_what_is_verified_and_unchanged(typed: Opsctl, servers: tuple[Standin, Standin]) -> None:
    run = receipt(copy(typed, "--collection", "the-shop", "--as", "shop"))["run_id"]
    servers[0].client().upsert("the-shop", [models.PointStruct(id=5, vector=[9.0] * 8, payload={"n": 5})])
    done = receipt(typed.json("migrate", "finish", run, "--yes"))
    assert (done["counts"]["removed"], done["counts"]["changed"]) == (399, 1)
    assert [each.id for each in servers[0].client().scroll("the-shop")[0]] == [5]
    assert servers[1].client().count("shop").count == 400


def test_refused_points_are_in_quarantine_and_replayed(typed: Opsctl, servers: tuple[Standin, Standin]) -> None:
    servers[1].faults(refuse=0.05)
    document = copy(typed)
    refused = receipt(document)["counts"]["quarantined"]
    assert document["exit_code"] == 5
    assert 5 <= refused <= 40
    assert receipt(document)["counts"]["verified"] == 400 - refused
    lines = Path(receipt(document)["quarantine"]).read_text().splitlines()
    assert len(lines) == refused
    assert all("is not wanted here" in line for line in lines)
    servers[1].faults()
    again = typed.json("migrate", "replay", receipt(document)["run_id"])
    assert again["exit_code"] == 0, again
    assert servers[1].client().count("the-shop").count == 400


def test_spoiled_points_are_not_taken_for_verified(typed: Opsctl, servers: tuple[Standin, Standin]) -> None:
    servers[1].faults(spoil=0.05)
    document = copy(typed)
    assert document["exit_code"] == 5
    assert receipt(document)["counts"]["quarantined"] >= 5


def test_the_target_is_killed_in_the_middle_and_comes_back(typed: Opsctl, servers: tuple[Standin, Standin]) -> None:
    cloud = servers[1]
    cloud.faults(slow=0.1)
    running = typed.start("migrate", "qdrant-to-cloud", "--from", "local", "--to", "cloud", "--batch", "20", "--json")
    for _ in range(600):
        if any(typed.folder.glob("state/opsctl/migrations/2*/export.jsonl")):
            break
        time.sleep(0.1)
    cloud.kill()
    time.sleep(0.5)
    cloud.start()
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert receipt(json.loads(out))["counts"]["verified"] == 400
    assert cloud.client().count("the-shop").count == 400


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--from", "local", "--to", "wrong"), 4, "its API key is not accepted"),
        (("--from", "gone", "--to", "cloud"), 4, "did not answer for 5 s"),
        (("--from", "local", "--to", "cloud", "--collection", "nope"), 2, "doesn't exist"),
        (("--from", "local", "--to", "local"), 2, "the same server"),
        (("--from", "local", "--to", "cloud", "--as", "x"), 2, "--as names one collection"),
        (("--from", ".", "--to", "cloud"), 3, "no folder of Qdrant's local mode"),
        (("--from", "local", "--to", "./folder"), 2, "is a folder"),
        (("--from", "local", "--to", "cloud", "--switch", "rag-context"), 3, "no droplet"),
    ],
)
def test_what_cannot_work_is_said_in_words(typed: Opsctl, words: tuple[str, ...], code: int, said: str) -> None:
    done = typed("migrate", "qdrant-to-cloud", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "cloud-key-of-the-tests" not in done.stdout + done.stderr


def test_a_vector_of_another_size_stands_against_it(typed: Opsctl, servers: tuple[Standin, Standin]) -> None:
    cloud = servers[1].client()
    cloud.create_collection("the-shop", models.VectorParams(size=9, distance=models.Distance.DOT))
    looked = copy(typed, "--dry-run")
    assert any("has size 8 here and 9" in each for each in looked["droplets"][0]["result"]["preview"]["findings"])
    done = copy(typed)
    assert done["exit_code"] not in (0, 70)
    assert cloud.count("the-shop").count == 0
