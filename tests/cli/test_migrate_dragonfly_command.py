"""Memory items from a real Redis into a real Weaviate, as a user types it: there, again, finished, and back."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Opsctl
from tests.stores.redis_server import RedisServer, redis_at_rest, redis_server
from tests.stores.weaviate_server import WeaviateServer, weaviate

from opsctl.model.cancel import Cancel
from opsctl.stores.weaviate_rest import WeaviateRest
from opsctl.stores.weaviate_wire import WeaviateWire

__all__ = ["redis_at_rest", "redis_server", "weaviate"]
WIDTH = 6


class Setting:
    """A stack file with both stores, and a collection of its own."""

    def __init__(self, folder: Path, source: RedisServer, sink: WeaviateServer) -> None:
        self.opsctl = Opsctl({"XDG_STATE_HOME": str(folder / "state")}, folder)
        self.redis = source.client
        self.rest = WeaviateRest(sink.target)
        self.wire = WeaviateWire(sink.target, largest=100_000_000)
        self.name = f"D{uuid.uuid4().hex[:12]}"
        self.cancel = Cancel(240)
        stores = {
            "cache": {"redis": source.url},
            "vectors": {"weaviate": sink.url, "grpc_port": sink.grpc_port},
        }
        (folder / "opsctl.yaml").write_text(json.dumps({"version": 1, "stores": stores}))
        properties = {
            "text": {"type": "text", "search": True},
            "speaker": "text",
            "timestamp": "date",
            "expiresAt": "date",
            "key": "text",
            "extra": {"type": "text", "filter": False},
        }
        one = {"tenants": "day", "vectors": {"minilm": {"width": WIDTH}}, "properties": properties}
        (folder / "collections.yaml").write_text(json.dumps({"version": 1, "collections": {self.name: one}}))
        done = self.opsctl("collections", "apply")
        assert done.returncode == 0, done.stderr

    def migrate(self, *words: str) -> tuple[int, Any]:
        """Exit code and result of the migration."""
        both = ("--from", "cache", "--to", "vectors", "--vectors", "precomputed", "--collection", self.name)
        document = self.opsctl.json("migrate", "dragonfly-to-weaviate", *both, *words)
        droplets = document["droplets"]
        return document["exit_code"], droplets[0]["result"] if droplets else document["error"]

    def stored(self, day: str) -> dict[str, Any]:
        """key → object of a day."""
        page = self.wire.page(self.name, day, "", 1000, ("minilm",), self.cancel)
        return {str(body.properties["key"]): body for _, body in page}

    def fill(self, count: int) -> None:
        """Strings and hashes, with and without a day; and some that are none."""
        pipe = self.redis.pipeline(transaction=False)
        for number in range(count):
            item: dict[str, Any] = {"content": f"said {number}", "role": "user", "embedding": [number + 0.1] * WIDTH}
            if number % 2:
                item["timestamp"] = f"2026-11-{20 + number % 3}T10:00:00+02:00"
            pipe.set(f"memory:{number}", json.dumps(item), ex=86_400 if number % 5 == 0 else None)
        vector = struct.pack(f"<{WIDTH}f", *[0.5] * WIDTH)
        pipe.hset("memory:hash", mapping={"text": "hash", "ts": "1795773600", "vector": vector, "raw": b"\xff"})
        pipe.set("memory:text", "not JSON")
        pipe.lpush("memory:list", "x")
        pipe.set("memory:wide", json.dumps({"text": "x", "embedding": [1.0]}))
        pipe.set("other:1", "{}")
        pipe.execute()


@pytest.fixture
def setting(tmp_path: Path, redis_server: RedisServer, weaviate: WeaviateServer) -> Iterator[Setting]:
    made = Setting(tmp_path, redis_server, weaviate)
    yield made
    made.rest.ask("DELETE", f"/schema/{made.name}", made.cancel)
    made.rest.close()
    made.wire.close()
    made.redis.close()


def test_there_again_finished_and_back(setting: Setting) -> None:
    setting.fill(300)
    before = {key: setting.redis.dump(key) for key in setting.redis.keys("*")}
    code, result = setting.migrate("--dry-run")
    preview = result["preview"]
    assert (code, preview["records"], preview["refused"]) == (0, 304, 3)
    assert {each["code"] for each in preview["refusals"]} == {"unparsable", "wrong-type", "width"}
    assert "expiresAt" in preview["expiry"]["promise"]
    assert setting.rest.tenants(setting.name, setting.cancel) == {}, "a dry run makes nothing"

    code, result = setting.migrate()
    receipt = result["receipt"]
    assert (code, receipt["counts"]["verified"], receipt["counts"]["quarantined"]) == (5, 301, 3)
    assert receipt["wanted_checksum"] == receipt["stored_checksum"]
    first = setting.stored("20261121")
    assert first["memory:1"].properties["timestamp"] == "2026-11-21T08:00:00Z"
    assert first["memory:1"].vectors["minilm"] == struct.pack(f"<{WIDTH}f", *[1.1] * WIDTH)
    hashed = setting.stored("20261127")["memory:hash"]
    assert json.loads(hashed.properties["extra"]) == {"ts": "1795773600", "raw": {"$base64": "/w=="}}
    assert {key: setting.redis.dump(key) for key in setting.redis.keys("*")} == before

    setting.redis.set("memory:1", json.dumps({"text": "edited", "embedding": [9.0] * WIDTH}))
    code, result = setting.migrate()
    counts = result["receipt"]["counts"]
    assert (counts["verified"], counts["unchanged"]) == (1, 300), "only what changed is written again"
    run = result["run_id"]

    assert setting.opsctl("migrate", "finish", run, "--yes").returncode == 0
    left = set(setting.redis.keys("*"))
    assert left == {b"memory:text", b"memory:list", b"memory:wide", b"other:1"}
    assert setting.opsctl("migrate", "rollback", run, "--yes").returncode == 0
    assert len(setting.redis.keys("*")) == len(before)
    assert 0 < setting.redis.ttl("memory:0") <= 86_400


def test_a_width_that_is_not_the_collections_ends_it_before_the_first_write(setting: Setting) -> None:
    for number in range(20):
        setting.redis.set(f"memory:{number}", json.dumps({"text": "x", "embedding": [1.0] * 9}))
    code, error = setting.migrate()
    assert (code, error["why"]) == (3, f"the vector minilm has 9 numbers, and {setting.name} keeps {WIDTH}")
    assert setting.rest.tenants(setting.name, setting.cancel) == {}


def test_a_day_that_changed_is_followed_also_without_the_ledger(setting: Setting, tmp_path: Path) -> None:
    item = {"text": "said", "embedding": [0.5] * WIDTH, "timestamp": "2026-11-20T10:00:00Z"}
    setting.redis.set("memory:1", json.dumps(item))
    setting.redis.set("memory:2", json.dumps(item))
    assert setting.migrate()[0] == 0
    shutil.rmtree(tmp_path / "state/opsctl/migrations/ledgers")
    setting.redis.set("memory:1", json.dumps({**item, "timestamp": "2026-11-24T10:00:00Z"}))
    code, result = setting.migrate()
    assert (code, result["receipt"]["counts"]["verified"]) == (0, 2)
    assert (set(setting.stored("20261120")), set(setting.stored("20261124"))) == ({"memory:2"}, {"memory:1"})


def test_what_is_clinical_is_exported_encrypted_or_not_at_all(setting: Setting, tmp_path: Path) -> None:
    declared = json.loads((tmp_path / "collections.yaml").read_text())
    declared["collections"][setting.name]["clinical"] = True
    (tmp_path / "collections.yaml").write_text(json.dumps(declared))
    item = {"text": "the diagnosis", "embedding": [0.5] * WIDTH, "timestamp": "2026-11-20T10:00:00Z"}
    setting.redis.set("memory:patient-4711", json.dumps(item), ex=86_400)
    code, error = setting.migrate()
    assert (code, error["code"]) == (3, "clinical-export") and "stores.cache" in error["why"]
    assert setting.rest.tenants(setting.name, setting.cancel) == {}

    stack = json.loads((tmp_path / "opsctl.yaml").read_text())
    (tmp_path / "key").write_text(base64.b64encode(os.urandom(32)).decode())
    without = json.dumps(stack)
    stack["stores"]["cache"]["export_key"] = "${cmd:cat key}"
    (tmp_path / "opsctl.yaml").write_text(json.dumps(stack))
    code, result = setting.migrate()
    assert code == 0, result
    run = result["run_id"]
    kept = (tmp_path / f"state/opsctl/migrations/{run}/export.jsonl").read_bytes()
    encoded = base64.b64encode(b"memory:patient-4711")
    assert kept and not any(each in kept for each in (b"4711", b"diagnosis", encoded, encoded[:12]))
    assert setting.opsctl("migrate", "finish", run, "--yes").returncode == 0
    assert not setting.redis.exists("memory:patient-4711")

    (tmp_path / "opsctl.yaml").write_text(without)
    refused = setting.opsctl("migrate", "rollback", run, "--yes")
    assert (refused.returncode, "export_key" in refused.stderr) == (3, True), refused.stderr
    refused = setting.opsctl("migrate", "export", run, "--to", "rows.jsonl")
    assert (refused.returncode, "stores.cache has no export_key" in refused.stderr) == (3, True), refused.stderr
    assert not (tmp_path / "rows.jsonl").exists()

    (tmp_path / "opsctl.yaml").write_text(json.dumps(stack))
    table = setting.opsctl("migrate", "export", run, "--to", "rows.jsonl")
    assert table.returncode == 0 and "this file is not" in table.stdout, table.stderr
    assert json.loads((tmp_path / "rows.jsonl").read_text())["key"] == "memory:patient-4711"
    back = setting.opsctl("migrate", "rollback", run, "--yes")
    assert back.returncode == 0, back.stderr
    assert json.loads(setting.redis.get("memory:patient-4711")) == item
    assert setting.redis.ttl("memory:patient-4711") > 80_000


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--vectors", "minilmm"), 2, "--vectors minilm"),
        (("--vectors", "server", "--model", "x"), 2, "--model goes with --vectors minilm"),
        (("--field", "text"), 2, "not a property and a field"),
        (("--skip-expiring", "soon"), 2, "--skip-expiring 1h"),
    ],
)
def test_wrong_words_are_told_before_anything_is_connected(
    opsctl: Opsctl, words: tuple[str, ...], code: int, said: str
) -> None:
    both = ("--from", "redis://127.0.0.1:1", "--to", "http://127.0.0.1:1")
    done = opsctl("migrate", "dragonfly-to-weaviate", *both, *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
