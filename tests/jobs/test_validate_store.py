"""Probes of stores: their bounds in the stack file, and how measures are judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from opsctl.jobs.validate_store import judge_measures
from opsctl.model.errors import ConfigError
from opsctl.model.measures import MEASURES, Measure, bounds, parse_bound
from opsctl.model.stack import Probe
from opsctl.model.stackfile import load_stack
from opsctl.stores.redis_info import measures, parse_info, server_of

STACK = """version: 1
droplets: {here: {address: local}}
stores: {sessions: {redis: "redis://127.0.0.1:1/0"}, file: {json: state.json}}
probes:
  one: %s
"""


def load(tmp_path: Path, probe: str) -> Probe:
    path = tmp_path / "opsctl.yaml"
    path.write_text(STACK % probe)
    return load_stack(path).probes["one"]


def test_a_probe_without_bounds_has_the_usual_ones(tmp_path: Path) -> None:
    probe = load(tmp_path, "{store: sessions}")
    usual = {name: each.usual for name, each in MEASURES["redis"].items() if each.usual is not None}
    assert (probe.kind, probe.store, probe.store_kind, probe.expect) == ("store", "sessions", "redis", usual)
    assert not probe.explicit


def test_bounds_are_read_in_their_units(tmp_path: Path) -> None:
    probe = load(tmp_path, "{store: sessions, expect: {hit_rate: 75%, memory: 0.5, persistence: false, keys: 1_000}}")
    assert probe.expect == {"hit_rate": 0.75, "memory": 0.5, "persistence": 0.0, "keys": 1000.0}
    assert (parse_bound("seconds", "150ms"), parse_bound("bytes", "64MB")) == (0.15, 64e6)


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("{store: session}", "no store session"),
        ("{store: file}", "json has no measures"),
        ("{store: sessions, expect: {hit_rte: 80%}}", 'did you mean "hit_rate"'),
        ("{store: sessions, expect: {hit_rate: 80ms}}", "is not a share, like 80%"),
        ("{store: sessions, expect: {hit_rate: 180%}}", "is not a share, like 80%"),
        ("{store: sessions, expect: {persistence: 3}}", "is not true or false"),
        ("{store: sessions, expect: {keys: true}}", "is not a number"),
        ('{http: ":80/", expect: {keys: 1}}', "means nothing for http"),
    ],
)
def test_a_wrong_bound_is_named_before_anything_is_asked(tmp_path: Path, probe: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, probe)
    assert said in f"{caught.value.info.what} {caught.value.info.why}"


def judged(found: Mapping[str, Measure], given: Mapping[str, object]) -> tuple[bool, str]:
    probe = Probe("p", "store", {}, store="s", store_kind="redis", expect=bounds("redis", given), explicit=bool(given))
    result = judge_measures(probe, found)
    return result.passed, result.said


def test_what_is_out_of_its_bound_is_said_first() -> None:
    found = {"hit_rate": Measure(0.4), "evictions": Measure(0), "memory": Measure(0.95), "persistence": Measure(1)}
    passed, said = judged(found, {})
    assert not passed
    assert said.startswith("hit rate 40 %, not at least 80 %; memory 95 %, not at most 90 %; evictions 0")


def test_what_a_store_cannot_say_has_not_passed_where_it_is_asked_for() -> None:
    found = {"hit_rate": Measure(None, "nothing was looked up")}
    assert judged(found, {"hit_rate": "80%"}) == (False, "hit rate: nothing was looked up")
    found |= {"evictions": Measure(0), "memory": Measure(0.1), "persistence": Measure(1)}
    assert judged(found, {})[0]


@pytest.mark.parametrize(
    ("info", "value"),
    [
        ("aof_enabled:1\naof_last_write_status:ok\naof_last_bgrewrite_status:ok", 1),
        ("aof_enabled:1\naof_last_write_status:err", 0),
        ("aof_enabled:0\nrdb_last_bgsave_status:ok\nrdb_saves:2", 1),
        ("aof_enabled:0\nrdb_last_bgsave_status:err\nrdb_saves:2", 0),
        ("aof_enabled:0\nrdb_last_bgsave_status:ok\nrdb_saves:0\nrdb_changes_since_last_save:9", 0),
        ("aof_enabled:0\nrdb_last_bgsave_status:ok\nrdb_saves:0\nrdb_changes_since_last_save:0", 1),
        ("aof_enabled:0\nrdb_last_bgsave_status:ok\nrdb_saves:0\nconfig_save:", 0),
        ("last_saved_file:/data/dump.dfs\nlast_success_save:20\nlast_failed_save:30", 0),
        ("last_saved_file:/data/dump.dfs\nlast_success_save:40\nlast_failed_save:30", 1),
        ("loading:1\naof_enabled:1", 0),
        ("", None),
    ],
)
def test_persistence_is_what_is_on_disk(info: str, value: float | None) -> None:
    assert measures(parse_info(info.encode()), 0)["persistence"].value == value


@pytest.mark.parametrize(
    ("info", "product", "version"),
    [
        ("redis_version:7.0.15\nrun_id:abc", "Redis", "7.0.15"),
        ("redis_version:7.2.4\nserver_name:valkey\nvalkey_version:8.1.1", "Valkey", "8.1.1"),
        ("redis_version:7.4.0\ndragonfly_version:df-v1.37.0", "Dragonfly", "1.37.0"),
    ],
)
def test_the_product_is_known_by_its_own_version(info: str, product: str, version: str) -> None:
    found = server_of(parse_info(info.encode()))
    assert (found.product, found.version) == (product, version)
