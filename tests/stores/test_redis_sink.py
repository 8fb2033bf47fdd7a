"""A Redis and a Valkey as sinks: every type, TTLs, what a target lacks, and nothing lost when it is full."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.stores.redis_server import RedisServer, running
from tests.stores.test_redis_source import fill
from tests.stores.toxiproxy import proxied

from opsctl.jobs.redis_copy import KeysAsTheyAre
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Item, Record, Removal
from opsctl.model.redis_value import Held, key_id, string_digest
from opsctl.model.secret import Secret
from opsctl.stores.redis_read import Reading
from opsctl.stores.redis_sink import RedisSink
from opsctl.stores.redis_source import RedisSource

WHOLE = Reading(whole=True, most=20_000_000)


@pytest.fixture
def cancel() -> Cancel:
    return Cancel(120)


@pytest.fixture(scope="module")
def second() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def goal(second: RedisServer) -> RedisServer:
    second.client.flushall()
    return second


def items(records: list[Record], cancel: Cancel) -> list[Item]:
    made = KeysAsTheyAre().apply(records, {}, cancel)
    assert all(isinstance(each, Item) for each in made)
    return [each for each in made if isinstance(each, Item)]


def text(key: bytes, value: bytes, ends: int | None = None) -> Item:
    held = Held("string", (value,), ends=ends)
    return Item(key, key_id(key), held, string_digest(value), len(value))


def whole(server: RedisServer, cancel: Cancel) -> list[Record]:
    source = RedisSource(server.target, "*", WHOLE)
    found = [record for batch in source.scan(50, cancel) for record in batch]
    source.close()
    return found


def test_every_type_arrives_as_it_was(each_server: RedisServer, goal: RedisServer, cancel: Cancel) -> None:
    """From a Valkey the dumps are of a version that this Redis may not take: then by plain commands."""
    fill(each_server)
    records = whole(each_server, cancel)
    sent = items(records, cancel)
    sink = RedisSink(goal.target)
    assert sink.check(sent, cancel) == []
    for _ in range(2):  # written twice, there is one of each
        assert sink.write(sent, cancel) == []
    assert sink.read(sent, cancel) == [item.digest for item in sent]
    assert {r.key: r.digest for r in whole(goal, cancel)} == {r.key: r.digest for r in records}
    assert 570_000 < goal.client.pttl("memory:ends") <= 600_000
    assert goal.client.pttl("memory:plain") == -1
    bare = [Item(item.key, item.id, None, item.digest, 0) for item in sent]  # as `finish` asks
    assert sink.read(bare, cancel) == [item.digest for item in sent]
    goal.client.set("memory:plain", "newer")
    written = [(item.id, item.group, item.digest) for item in sent]
    outcomes = dict(zip((item.key for item in sent), sink.remove(written, cancel), strict=True))
    assert outcomes.pop(b"memory:plain") is Removal.CHANGED
    assert set(outcomes.values()) == {Removal.REMOVED}
    assert goal.client.keys() == [b"memory:plain"]
    sink.close()


def test_a_streams_groups_come_along_where_dumps_are_taken(
    redis_server: RedisServer, goal: RedisServer, cancel: Cancel
) -> None:
    fill(redis_server)
    sink = RedisSink(goal.target)
    sink.write(items(whole(redis_server, cancel), cancel), cancel)
    assert goal.client.xinfo_groups("memory:stream")[0]["name"] == b"readers"
    sink.close()


def test_a_dump_that_is_not_taken_goes_by_plain_commands(goal: RedisServer, cancel: Cancel) -> None:
    held = Held("list", (b"a", b"b"), dump=b"not a dump", ends=round(time.time() * 1000) + 60_000)
    item = Item(b"l", "l", held, held.digest, 2)
    sink = RedisSink(goal.target)
    assert sink.write([item], cancel) == []
    assert goal.client.lrange("l", 0, -1) == [b"a", b"b"]
    assert 50_000 < goal.client.pttl("l") <= 60_000
    sink.close()


def test_large_ones_are_written_by_plain_commands_in_slices(goal: RedisServer, cancel: Cancel) -> None:
    pairs = tuple(each for number in range(30_000) for each in (f"f{number}".encode(), b"x"))
    scores = tuple(each for number in range(10_000) for each in (f"m{number}".encode(), str(number / 7).encode()))
    sent = [
        Item(b"h", "h", value := Held("hash", pairs), value.digest, 1),
        Item(b"z", "z", score := Held("zset", scores), score.digest, 1),
    ]
    sink = RedisSink(goal.target)
    assert sink.write(sent, cancel) == []
    assert sink.read(sent, cancel) == [item.digest for item in sent]
    sink.close()


def test_what_has_come_to_its_end_is_not_made_immortal(goal: RedisServer, cancel: Cancel) -> None:
    now = round(time.time() * 1000)
    sent = [text(b"over", b"1", now - 1), text(b"soon", b"2", now + 50), text(b"never", b"3")]
    sink = RedisSink(goal.target)
    assert sink.write(sent, cancel) == []
    while goal.client.exists("soon"):
        cancel.wait(0.02)
    cancel.wait(0.05)
    assert sink.read(sent, cancel) == [item.digest for item in sent]
    assert goal.client.keys() == [b"never"]
    sink.close()


def test_with_keep_what_is_there_already_is_refused(goal: RedisServer, cancel: Cancel) -> None:
    goal.client.mset({"mine": "newer", "same": "1"})
    sink = RedisSink(goal.target, keep=True)
    refused = sink.write([text(b"mine", b"older"), text(b"same", b"1"), text(b"new", b"2")], cancel)
    assert [(each.key, each.code) for each in refused] == [(b"mine", "exists")]
    assert goal.client.mget("mine", "same", "new") == [b"newer", b"1", b"2"]
    assert "refused" in " ".join(sink.describe(cancel).notes)
    sink.close()


def test_a_full_server_ends_the_run_with_what_it_said(cancel: Cancel) -> None:
    with running("redis", "--maxmemory", "8mb", "--maxmemory-policy", "noeviction") as server:
        sink = RedisSink(server.target)
        assert "that it may use (maxmemory)" in " ".join(sink.describe(cancel).notes)
        with pytest.raises(ConfigError, match="takes no more writes") as error:
            for number in range(200):
                sink.write([text(f"k{number}".encode(), b"x" * 100_000)], cancel)
        assert error.value.info.code == "full"
        sink.close()


def test_commands_that_a_target_lacks_are_named_first(cancel: Cancel) -> None:
    """As a managed one may lack them: here they are taken away from a real server."""
    with running("redis", "--rename-command", "EVAL", "", "--rename-command", "XADD", "") as server:
        sink = RedisSink(server.target)
        stream = Held("stream", (b"1-1", b"2", b"f", b"v"))
        said = sink.check([text(b"a", b"1"), Item(b"x", "x", stream, stream.digest, 1)], cancel)
        assert said == [f"{server.target.shown} does not know EVAL, XADD"]
        sink.close()


def test_a_replica_is_no_sink(redis_server: RedisServer, cancel: Cancel) -> None:
    if redis_server.process is None:
        pytest.skip("the server is not on this machine")
    with (
        running("redis", "--replicaof", "127.0.0.1", str(redis_server.port)) as replica,
        pytest.raises(ConfigError, match="is a replica"),
    ):
        RedisSink(replica.target).describe(cancel)


def test_a_cut_while_writing_is_waited_out(goal: RedisServer, toxiproxy_api: str, cancel: Cancel) -> None:
    way = proxied(toxiproxy_api, goal.port)
    sink = RedisSink(replace(goal.target, url=Secret(f"redis://127.0.0.1:{way.port}/0")))
    sink.describe(cancel)
    sent = [text(f"k{number}".encode(), b"x" * 1000) for number in range(2000)]
    healing = threading.Timer(0.5, lambda: way.enable(True))
    way.enable(False)
    healing.start()
    assert sink.write(sent, cancel) == []
    healing.join()
    assert sink.read(sent, cancel) == [item.digest for item in sent]
    sink.close()
