"""A Redis and a Valkey as sources: a zoo of keys, what changes underneath, restarts, cuts, TLS."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.stores.redis_server import PASSWORD, RedisServer, running, with_tls
from tests.stores.toxiproxy import proxied

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, Interrupted, UnreachableError
from opsctl.model.migrate import Record, Removal, digest
from opsctl.model.redis_value import Held, content_digest, id_key, key_id, string_digest
from opsctl.model.secret import Secret
from opsctl.model.store import Target
from opsctl.stores.redis_link import RedisLink
from opsctl.stores.redis_read import Reading
from opsctl.stores.redis_source import RedisSource
from opsctl.stores.redis_walk import literal

DEEP = json.dumps({"a": 1})[:-1] + ',"b":' + "[" * 900 + "]" * 900 + "}"
STRINGS: dict[bytes, bytes] = {
    b"memory:plain": b"text",
    b"memory:empty": b"",
    b"memory:\xff\xfe\x00\r\n": b"\x00\xff\r\n$5\r\n",
    "memory:ключ-🗝".encode(): "значение ✓".encode(),
    b"memory:{user1}:a": b"1",
    b"memory:{user1}:b": b"2",
    b"memory:*?[x]\\": b"glob",
    b"memory:" + b"k" * 5000: b"long key",
    b"memory:deep": DEEP.encode(),
    b"memory:base64:AAAA": b"base64:AAAA",
    b"memory:9MB": b"x" * 9_000_000,
}


@pytest.fixture
def cancel() -> Cancel:
    return Cancel(120)


def fill(server: RedisServer) -> None:
    """The zoo."""
    client = server.client
    for key, value in STRINGS.items():
        client.set(key, value)
    client.set("memory:10MB", b"x" * 10_000_001)
    client.set("memory:ends", "soon", px=600_000)
    client.hset("memory:hash", mapping={"b": "2", "a": "", b"\xff": b"\x00"})
    client.rpush("memory:list", "a", "a", b"\xff", "")
    client.sadd("memory:set", "x", "y", b"\xff")
    client.zadd("memory:zset", {"a": 0.1, "b": float("inf"), "c": -3})
    client.xadd("memory:stream", {"f": "v", "g": b"\xff"}, id="5-1")
    client.xgroup_create("memory:stream", "readers", "0")
    client.setbit("memory:bits", 7, 1)
    client.pfadd("memory:loglog", "a", "b")
    client.set("other", "not meant")


def scanned(source: RedisSource, cancel: Cancel) -> dict[bytes, Record]:
    return {record.key: record for batch in source.scan(7, cancel) for record in batch}


@pytest.fixture
def zoo(each_server: RedisServer) -> Iterator[RedisServer]:
    fill(each_server)
    yield each_server


def test_strings_and_hashes_are_read_and_the_rest_says_why_not(zoo: RedisServer, cancel: Cancel) -> None:
    source = RedisSource(zoo.target, "memory:*")
    found = scanned(source, cancel)
    assert {key: record.value for key, record in found.items() if key in STRINGS} == STRINGS
    assert found[b"memory:hash"].value == {b"b": b"2", b"a": b"", b"\xff": b"\x00"}
    assert 590 < (found[b"memory:ends"].ttl or 0) <= 600
    assert found[b"memory:plain"].ttl is None
    faults = {key: record.fault_code for key, record in found.items() if record.fault}
    wrong = dict.fromkeys((b"memory:list", b"memory:set", b"memory:zset", b"memory:stream"), "wrong-type")
    assert faults == {**wrong, b"memory:10MB": "too-large"}
    assert found[b"memory:10MB"].fault == "a string of 10 MB; the limit is 10 MB and 100,000 elements"
    assert b"other" not in found
    source.close()


def test_the_whole_of_every_type_is_read_removed_and_put_back(zoo: RedisServer, cancel: Cancel) -> None:
    source = RedisSource(zoo.target, "*", Reading(whole=True, most=20_000_000))
    found = list(scanned(source, cancel).values())
    assert len(found) == zoo.client.dbsize()
    assert not [record.fault for record in found if record.fault]
    dumped = [json.loads(json.dumps(source.dump(record))) for record in found]
    assert set(source.restore(dumped, cancel)) == {"there"}
    seen = [(record.key, record.digest) for record in found]
    assert set(source.remove(seen, cancel)) == {Removal.REMOVED}
    assert set(source.remove(seen, cancel)) == {Removal.GONE}
    assert zoo.client.dbsize() == 0
    zoo.client.rpush("memory:list", "somebody else's")
    outcomes = dict(zip((record.key for record in found), source.restore(dumped, cancel), strict=True))
    assert outcomes.pop(b"memory:list") == "differs"
    assert set(outcomes.values()) == {"restored"}
    again = scanned(source, cancel)
    different = [record.key for record in found if again[record.key].digest != record.digest]
    assert different == [b"memory:list"]
    assert zoo.client.xinfo_groups("memory:stream")[0]["name"] == b"readers"
    assert 580_000 < zoo.client.pttl("memory:ends") <= 600_000
    source.close()


def test_a_dump_without_the_servers_own_form_is_put_back_too(zoo: RedisServer, cancel: Cancel) -> None:
    """As from a server of another version, whose dumps this one does not take."""
    source = RedisSource(zoo.target, "memory:*", Reading(whole=True))
    found = [record for record in scanned(source, cancel).values() if not record.fault]
    dumped = [{**source.dump(record), "dump": "bm90IGEgZHVtcA=="} for record in found]
    assert set(source.remove([(record.key, record.digest) for record in found], cancel)) == {Removal.REMOVED}
    assert set(source.restore(dumped, cancel)) == {"restored"}
    again = scanned(source, cancel)
    assert {key: again[key].digest for key in again} == {
        record.key: record.digest for record in [*found, again[b"memory:10MB"]]
    }
    source.close()


def test_what_changed_since_it_was_read_is_not_removed(zoo: RedisServer, cancel: Cancel) -> None:
    source = RedisSource(zoo.target, "memory:*", Reading(whole=True))
    found = {key: record for key, record in scanned(source, cancel).items() if not record.fault}
    client = zoo.client
    client.set("memory:plain", "Text")
    client.hset("memory:hash", "b", "3")
    client.lset("memory:list", 0, "b")
    client.srem("memory:set", "x")
    client.zincrby("memory:zset", 1, "a")
    client.xadd("memory:stream", {"more": "1"})
    client.delete("memory:deep")
    client.set("memory:empty", "x")
    client.expire("memory:ends", 5000)  # a sliding session: no other content
    changed = {b"memory:plain", b"memory:hash", b"memory:list", b"memory:set", b"memory:zset", b"memory:stream"}
    outcomes = dict(zip(found, source.remove([(k, r.digest) for k, r in found.items()], cancel), strict=True))
    assert {key for key, how in outcomes.items() if how is Removal.CHANGED} == changed | {b"memory:empty"}
    assert {key for key, how in outcomes.items() if how is Removal.GONE} == {b"memory:deep"}
    assert outcomes[b"memory:ends"] is Removal.REMOVED
    source.close()


def test_a_hash_is_the_same_whatever_the_order_of_its_fields(redis_server: RedisServer, cancel: Cancel) -> None:
    client = redis_server.client
    fields = {f"f{number}": "x" * 100 for number in range(300)}
    client.hset("a", mapping=fields)
    client.hset("b", mapping=dict(reversed(fields.items())))
    source = RedisSource(redis_server.target)
    first, second = source.fetch([b"a", b"b"], cancel)
    assert first is not None and second is not None
    assert first.digest == second.digest
    assert source.remove([(b"a", second.digest), (b"b", first.digest)], cancel) == [Removal.REMOVED] * 2
    source.close()


def test_fetch_keeps_the_order_and_says_what_is_gone(redis_server: RedisServer, cancel: Cancel) -> None:
    redis_server.client.mset({"a": "1", "b": "2"})
    source = RedisSource(redis_server.target)
    found = source.fetch([b"b", b"nothing", b"a", b"b"], cancel)
    assert [record and record.value for record in found] == [b"2", None, b"1", b"2"]
    assert source.fetch([], cancel) == []
    source.close()


def test_what_expired_stays_away(redis_server: RedisServer, cancel: Cancel) -> None:
    source = RedisSource(redis_server.target)
    gone = {"key": "a", "kind": "string", "parts": ["1"], "ends": 1_000}
    assert source.restore([gone, {**gone, "ends": 4_000_000_000_000}], cancel) == ["expired", "restored"]
    with pytest.raises(ValueError, match="not a key"):
        source.restore([{"key": "a", "kind": "tree", "parts": []}], cancel)
    source.close()


def test_large_values_come_in_several_answers(redis_server: RedisServer, cancel: Cancel) -> None:
    for number in range(8):
        redis_server.client.set(f"big:{number}", bytes([number]) * 5_000_000)
        redis_server.client.hset(f"hash:{number}", "f", bytes([number]) * 4_000_000)
    source = RedisSource(redis_server.target)
    found = scanned(source, cancel)
    assert {key: record.size for key, record in found.items()} == {
        **{f"big:{number}".encode(): 5_000_000 for number in range(8)},
        **{f"hash:{number}".encode(): 4_000_001 for number in range(8)},
    }
    assert source.remove([(key, record.digest) for key, record in found.items()], cancel) == [Removal.REMOVED] * 16
    source.close()


def test_a_hash_of_too_many_fields_is_not_read(redis_server: RedisServer, cancel: Cancel) -> None:
    redis_server.client.hset("many", mapping=dict.fromkeys(range(200), "x"))
    redis_server.client.hset("fat", mapping=dict.fromkeys(range(5), "x" * 1000))
    found = scanned(RedisSource(redis_server.target, "*", Reading(most=3000, elements=100)), cancel)
    assert found[b"many"].fault == "a hash of 200 elements; the limit is 3 kB and 100 elements"
    assert found[b"fat"].fault.startswith("a hash of 5 kB")


def test_what_is_there_throughout_is_seen_while_others_come_and_go(redis_server: RedisServer, cancel: Cancel) -> None:
    client = redis_server.client
    client.mset({f"stays:{number}": number for number in range(5000)})
    client.mset({f"goes:{number}": number for number in range(5000)})
    source = RedisSource(redis_server.target)
    found: set[bytes] = set()
    for round_, batch in enumerate(source.scan(250, cancel)):
        found |= {record.key for record in batch}
        client.mset({f"new:{round_}:{number}": "x" for number in range(200)})
        client.delete(*(f"goes:{round_ * 100 + number}" for number in range(100)))
        client.hset(f"turns:{round_}", "a", "b")
        client.set(f"turns:{round_}", "a string now")
    assert {f"stays:{number}".encode() for number in range(5000)} <= found
    source.close()


def test_a_scan_begins_anew_when_the_server_does(cancel: Cancel) -> None:
    with running() as server:
        server.client.mset({f"k:{number}": number for number in range(20_000)})
        source = RedisSource(server.target)
        walk = source.scan(500, cancel)
        found = {record.key for _ in range(5) for record in next(walk)}
        server.stop()
        server.start()
        for batch in walk:
            found |= {record.key for record in batch}
        assert len(found) == 20_000
        seen = source.fetch([b"k:1"], cancel)[0]
        assert seen is not None
        server.stop(kill=True)
        server.start()
        assert source.remove([(b"k:1", seen.digest)], cancel) == [Removal.REMOVED]
        source.close()


def test_a_cut_in_the_middle_loses_nothing(redis_server: RedisServer, toxiproxy_api: str, cancel: Cancel) -> None:
    if redis_server.process is None:
        pytest.skip("the server is not on this machine")
    redis_server.client.mset({f"k:{number}": "v" * 300 for number in range(20_000)})
    way = proxied(toxiproxy_api, redis_server.port)
    target = replace(redis_server.target, url=Secret(f"redis://127.0.0.1:{way.port}/0"))
    source = RedisSource(target)
    found: set[bytes] = set()
    for number, batch in enumerate(source.scan(500, cancel)):
        found |= {record.key for record in batch}
        if number == 5:
            way.enable(False)
            way.enable(True)
        elif number == 15:
            way.toxic("limit_data", bytes=100_000)  # in the middle of an answer, again and again
            healing = threading.Timer(1.0, way.heal)
            healing.start()
    healing.join()
    assert len(found) == 20_000
    way.enable(False)
    link = RedisLink(target, outage=0.5)
    with pytest.raises(UnreachableError, match="does not answer"):
        link.info(cancel)
    source.close()


def test_tls_with_a_password_that_is_never_shown(cancel: Cancel) -> None:
    with with_tls() as server:
        server.client.set("a", "1")
        source = RedisSource(server.target)
        described = source.describe(cancel)
        assert [record.value for batch in source.scan(9, cancel) for record in batch] == [b"1"]
        assert PASSWORD not in f"{described} {source.__dict__}"
        source.close()
        url = server.url
        wrong = Target("redis", Secret(url.replace(PASSWORD, "wrong-password")), "s", "s")
        with pytest.raises(ConfigError, match="refuses the login") as login:
            RedisSource(wrong).describe(cancel)
        assert "wrong-password" not in f"{login.value.info}"
        untrusted = Target("redis", Secret(url.partition("?")[0]), "s", "s")
        with pytest.raises(ConfigError, match="cannot be trusted"):
            RedisSource(untrusted).describe(cancel)
        plain = Target("redis", Secret(url.replace("rediss", "redis").partition("?")[0]), "s", "s")
        with pytest.raises(UnreachableError):
            RedisLink(plain, outage=0.2).info(cancel)


def test_who_may_not_read_is_told_what_is_missing(redis_server: RedisServer, cancel: Cancel) -> None:
    client = redis_server.client
    client.execute_command("ACL", "SETUSER", "narrow", "on", ">pw-narrow", "~*", "+@connection", "+info", "+scan")
    try:
        client.set("a", "1")
        url = redis_server.url.replace("redis://", "redis://narrow:pw-narrow@")
        source = RedisSource(replace(redis_server.target, url=Secret(url)))
        with pytest.raises(ConfigError, match="refuses what a migration needs") as error:
            scanned(source, cancel)
        assert "EVAL" in error.value.info.next
        source.close()
    finally:
        client.execute_command("ACL", "DELUSER", "narrow")


def test_an_interrupt_ends_the_waiting() -> None:
    cancel = Cancel(60)
    cancel.cancel()
    with pytest.raises(Interrupted):
        RedisSource(Target("redis", Secret("redis://127.0.0.1:1/0"), "s", "s")).describe(cancel)


def test_an_estimate_counts_the_keys_that_are_meant(redis_server: RedisServer, cancel: Cancel) -> None:
    client = redis_server.client
    client.mset({f"a:{number}": "x" for number in range(15_000)})
    client.mset({f"b:{number}": "x" for number in range(15_000)})
    assert RedisSource(redis_server.target).estimate(cancel).records == 30_000
    assert RedisSource(redis_server.target, "none:*").estimate(cancel).records == 0
    some = RedisSource(redis_server.target, "a:*").estimate(cancel).records
    assert some is not None and 13_000 < some < 17_000


def test_a_glob_of_a_text_matches_that_text_only(redis_server: RedisServer, cancel: Cancel) -> None:
    hostile = "a*b?[c]\\^-d"
    redis_server.client.mset({hostile: "1", "axb1c^d": "2", "a*b?c\\^-d": "3"})
    assert list(scanned(RedisSource(redis_server.target, literal(hostile)), cancel)) == [hostile.encode()]


def test_digests_and_ids() -> None:
    assert string_digest(b"") == content_digest("string", (b"",))
    assert string_digest(b"x" * 100) == content_digest("string", (b"x" * 100,))
    assert content_digest("list", (b"a", b"b")) != content_digest("list", (b"b", b"a"))
    assert content_digest("set", (b"a", b"b")) == content_digest("set", (b"b", b"a"))
    assert content_digest("zset", (b"a", b"1", b"b", b"2")) == content_digest("zset", (b"b", b"2.0", b"a", b"1.0"))
    assert Held("hash", (b"a", b"b")).digest != Held("set", (b"a", b"b")).digest
    assert content_digest("hash", (b"b", b"2", b"a", b"")) == digest(b"hash", b"a", b"", b"b", b"2")
    for key in STRINGS:
        assert id_key(key_id(key)) == key
