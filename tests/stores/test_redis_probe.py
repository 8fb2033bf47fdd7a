"""Probes of a real Redis, as `opsctl validate` asks them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Opsctl
from tests.stores.redis_server import RedisServer

from opsctl.model.cancel import Cancel
from opsctl.model.measures import MEASURES, Question
from opsctl.stores.probes import measure


def test_a_server_tells_every_measure(each_server: RedisServer) -> None:
    client = each_server.client
    client.mset({f"k:{number}": "v" for number in range(10)})
    client.config_resetstat()
    client.mget("k:1", "k:2", "k:3", "none")
    names = tuple(MEASURES["redis"])
    found = measure(each_server.target, Question("s", names), Cancel(10), 5.0)
    assert set(found) == set(names)
    assert found["hit_rate"].value == 0.75
    assert found["keys"].value == 10
    assert found["evictions"].value == 0
    assert found["persistence"].value == 1
    assert 0 < (found["memory"].value or 0) < 0.1


def test_validate_asks_the_store(redis_server: RedisServer, tmp_path: Path) -> None:
    redis_server.client.set("a", "1")
    stack = tmp_path / "opsctl.yaml"
    probes = {
        "live": {"store": "sessions", "expect": {"keys": 1, "persistence": True, "memory": "90%"}},
        "many": {"store": "sessions", "expect": {"keys": 1000}},
        "gone": {"store": "gone", "expect": {"keys": 1}},
    }
    stores = {"sessions": {"redis": redis_server.url}, "gone": {"redis": "redis://127.0.0.1:1/0"}}
    droplets = {"here": {"address": "local"}}
    stack.write_text(json.dumps({"version": 1, "droplets": droplets, "stores": stores, "probes": probes}))
    document = Opsctl({"OPSCTL_STACK": str(stack)}, tmp_path).json("validate")
    found = {each["name"]: each for each in document["droplets"][0]["result"]["probes"]}
    assert {name: each["passed"] for name, each in found.items()} == {"live": True, "many": False, "gone": False}
    assert found["many"]["said"] == "keys 1, not at least 1,000"
    assert "does not answer" in found["gone"]["said"]
    assert document["exit_code"] == 7
