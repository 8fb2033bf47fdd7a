"""state-to-redis and redis-to-managed as a user types them, on real servers."""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Opsctl
from tests.stores.redis_server import RedisServer, running
from tests.stores.test_redis_source import fill


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[RedisServer, RedisServer]]:
    with running() as first, running() as second:
        yield first, second


@pytest.fixture
def typed(servers: tuple[RedisServer, RedisServer], tmp_path: Path) -> Opsctl:
    for each in servers:
        each.client.flushall()
    stack = tmp_path / "opsctl.yaml"
    stores = {"old": {"redis": servers[0].url}, "managed": {"redis": servers[1].url}, "file": {"json": "graph.json"}}
    stack.write_text(json.dumps({"version": 1, "stores": stores}))
    return Opsctl({"OPSCTL_STACK": str(stack), "XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path)


def test_a_state_file_there_finished_and_back(
    typed: Opsctl, servers: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    path, client = tmp_path / "graph.json", servers[0].client
    before = '{"a": {"n": 1.00}, "b": {"messages": ["é"]}}'
    path.write_text(before)
    plan = typed("migrate", "state-to-redis", "--from", "file", "--to", "old", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "a session lives 1 h 00 min" in " ".join(plan.stdout.split())
    assert client.dbsize() == 0
    done = typed("migrate", "state-to-redis", "--from", "file", "--to", "old", "--ttl", "30m")
    assert done.returncode == 0, done.stderr
    assert client.get("session:a") == b'{"n": 1.00}'
    assert 1700 < client.ttl("session:a") <= 1800
    assert typed("migrate", "finish", "last", "--yes").returncode == 0
    assert path.read_text() == "{}\n"
    assert [each.read_text() for each in tmp_path.glob("graph.json.before-*")] == [before]
    client.set("session:a", '{"n": 2}', ex=100)  # the application goes on
    back = typed("migrate", "state-to-redis", "--reverse", "--from", "old", "--to", "file")
    assert back.returncode == 0, back.stderr
    assert json.loads(path.read_text()) == {"a": {"n": 2}, "b": {"messages": ["é"]}}


def test_copied_twice_looked_at_finished_and_taken_back(
    typed: Opsctl, servers: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    path, client = tmp_path / "graph.json", servers[0].client
    path.write_text('{"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}}')
    words = ("migrate", "state-to-redis", "--from", "file", "--to", "old")
    first = typed.json(*words)["run_id"]
    assert typed(*words).returncode == 0
    client.set("session:c", '{"n": 4}')
    plan = typed("migrate", "finish", "last", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    said = " ".join(plan.stdout.split())
    assert "2 to be deleted" in said
    assert "1 no longer in the target" in said
    assert (len(json.loads(path.read_text())), client.dbsize()) == (3, 3)
    client.set("session:c", '{"n": 3}')
    assert typed("migrate", "finish", "last", "--yes").returncode == 0
    plan_json = typed.json("migrate", "rollback", "last", "--dry-run")
    foreseen = plan_json["droplets"][0]["result"]["foreseen"]
    assert (foreseen["source"], foreseen["sink"], foreseen["left"]) == ({"restore": 3}, {}, {first: 3})
    assert (path.read_text(), client.dbsize()) == ("{}\n", 3)

    back = typed("migrate", "rollback", "last", "--yes")
    assert back.returncode == 0, back.stderr
    assert f"3 at the target were written by run {first}" in " ".join(back.stdout.split())
    assert f"opsctl migrate rollback {first}" in back.stdout
    assert "keys are there already" not in back.stdout
    for word in ("receipt", "status"):
        assert f"next  opsctl migrate rollback {first}" in typed("migrate", word, "last").stdout
    whole = typed("migrate", "rollback", first, "--yes")
    assert "3 taken back from the target" in whole.stdout, whole.stderr
    assert (client.dbsize(), len(json.loads(path.read_text()))) == (0, 3)
    assert "next  opsctl migrate state-to-redis --from file --to old" in typed("migrate", "receipt", first).stdout


def test_a_newer_session_is_not_replaced_by_the_file(
    typed: Opsctl, servers: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    (tmp_path / "graph.json").write_text('{"a": {"n": 1}}')
    servers[0].client.set("session:a", '{"n": 2}')
    done = typed("migrate", "state-to-redis", "--from", "file", "--to", "old")
    assert done.returncode == 5
    assert "1 exists" in done.stdout
    assert servers[0].client.get("session:a") == b'{"n": 2}'
    assert typed("migrate", "state-to-redis", "--from", "file", "--to", "old", "--overwrite").returncode == 0
    assert servers[0].client.get("session:a") == b'{"n": 1}'


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("state-to-redis", "--from", "file", "--to", "old"), 3, "there is no such file"),
        (("state-to-redis", "--from", "old", "--to", "file"), 2, "expected json"),
        (("state-to-redis", "--from", "file", "--to", "old", "--ttl", "soon"), 2, "not a duration"),
        (("redis-to-managed", "--from", "old", "--to", "old"), 2, "the same store"),
        (("redis-to-managed", "--from", "old", "--to", "managed", "--max-value", "2GB"), 2, "up to 512 MB"),
        (("redis-to-managed", "--from", "redis://:pw-secret@h:1/0", "--to", "managed"), 2, "may hold no password"),
    ],
)
def test_what_cannot_be_says_why_and_what_to_type(typed: Opsctl, words: tuple[str, ...], code: int, said: str) -> None:
    done = typed("migrate", *words)
    assert (done.returncode, said in " ".join(done.stderr.split())) == (code, True), done.stderr
    assert "next" in done.stderr
    assert "pw-secret" not in done.stderr


def contents(server: RedisServer) -> dict[bytes, Any]:
    """Each key's own form; a set's members, since the order they are dumped in is the server's choice."""
    client = server.client
    return {key: client.smembers(key) if client.type(key) == b"set" else client.dump(key) for key in client.scan_iter()}


def test_every_key_to_a_managed_one_and_taken_back(typed: Opsctl, servers: tuple[RedisServer, RedisServer]) -> None:
    first, second = servers
    fill(first)
    before = contents(first)
    done = typed("migrate", "redis-to-managed", "--from", "old", "--to", "managed", "--delete", "--yes")
    assert done.returncode == 5, done.stderr
    assert "1 too-large" in done.stdout
    assert first.client.keys() == [b"memory:10MB"]
    assert second.client.dbsize() == len(before) - 1
    assert second.client.pttl("memory:ends") > 500_000
    back = typed("migrate", "rollback", "last", "--yes")
    assert back.returncode == 0, back.stderr
    assert contents(first) == before
    assert first.client.pttl("memory:ends") > 500_000
    assert second.client.dbsize() == 0


def test_what_a_run_exported_as_a_table(
    typed: Opsctl, servers: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    client = servers[0].client
    client.set('session:"1"\n,x', '{"n": 1}')
    client.set(b"session:\xff", b"\x00\xfe")
    client.hset("session:h", mapping={"a": "1", "b": "zwei"})
    done = typed.json("migrate", "redis-to-managed", "--from", "old", "--to", "managed")
    run = done["run_id"]
    client.set("session:h2", "later")
    typed("migrate", "redis-to-managed", "--from", "old", "--to", "managed")
    rows = tmp_path / "rows.csv"
    said = typed("migrate", "export", run, "--to", str(rows))
    assert said.returncode == 0, said.stderr
    assert f"3 records of {run} in {rows}" in " ".join(said.stdout.split())
    assert "zwei" not in said.stdout + said.stderr
    assert rows.stat().st_mode & 0o777 == 0o600
    with rows.open(newline="") as file:
        found = {base64.b64decode(each["key64"]): each for each in csv.DictReader(file)}
    assert found.keys() == {b'session:"1"\n,x', b"session:\xff", b"session:h"}
    lines = tmp_path / "rows.jsonl"
    shown = typed.json("migrate", "export", run[:20], "--to", "rows.jsonl")["droplets"][0]["result"]
    assert (shown["records"], shown["format"], shown["whole"]) == (3, "jsonl", True)
    again = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {each["key64"]: each["record"] for each in again} == {
        each["key64"]: json.loads(each["record"]) for each in found.values()
    }
    assert shown["bytes"] == lines.stat().st_size


def test_a_table_takes_nobodys_place_and_needs_a_format(
    typed: Opsctl, servers: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    servers[0].client.set("a", "1")
    typed("migrate", "redis-to-managed", "--from", "old", "--to", "managed")
    there = tmp_path / "there.csv"
    there.write_text("somebody's")
    refused = typed("migrate", "export", "last", "--to", "there.csv")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert there.read_text() == "somebody's"
    assert typed("migrate", "export", "last", "--to", "there.csv", "--force").returncode == 0
    assert there.read_text().startswith("key,key64,")
    assert there.stat().st_mode & 0o777 == 0o600
    unknown = typed("migrate", "export", "last", "--to", "there.xlsx")
    assert (unknown.returncode, ".jsonl" in unknown.stderr) == (2, True)
    nowhere = typed("migrate", "export", "last", "--to", "no/such/there.csv")
    assert (nowhere.returncode, "cannot be written" in nowhere.stderr) == (1, True)
    servers[0].client.flushall()
    servers[1].client.flushall()
    empty = typed.json("migrate", "redis-to-managed", "--from", "old", "--to", "managed")
    nothing = typed("migrate", "export", empty["run_id"], "--to", "nothing.csv")
    assert (nothing.returncode, "exported nothing" in nothing.stderr) == (1, True)
    assert not (tmp_path / "nothing.csv").exists()
    assert not list(tmp_path.glob(".*csv*"))


def test_a_killed_run_whose_export_is_encrypted_goes_on(
    typed: Opsctl, servers: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    first, second = servers
    pipe = first.client.pipeline(transaction=False)
    for number in range(3000):
        pipe.set(f"session:{number}", f"secret {number}")
    pipe.execute()
    before = contents(first)
    stack = json.loads((tmp_path / "opsctl.yaml").read_text())
    stack["stores"]["old"]["export_key"] = base64.b64encode(os.urandom(32)).decode()
    (tmp_path / "opsctl.yaml").write_text(json.dumps(stack))
    process = typed.start(
        "migrate", "redis-to-managed", "--from", "old", "--to", "managed", "--batch", "5", "--rate", "900"
    )
    while second.client.dbsize() < 300:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    (folder,) = (tmp_path / "state/opsctl/migrations").glob("2*")
    shutil.rmtree(tmp_path / "state/opsctl/migrations/ledgers")  # and its ledger is lost
    done = typed.json("migrate", "resume", "last", "--rate", "100000")
    assert done["exit_code"] == 0, done
    assert contents(second) == before
    kept = (folder / "export.jsonl").read_bytes()
    assert b"secret" not in kept and base64.b64encode(b"session:1")[:8] not in kept
    assert typed("migrate", "finish", "last", "--yes").returncode == 0
    assert first.client.dbsize() == 0
    assert typed("migrate", "rollback", "last", "--yes").returncode == 0
    assert (contents(first), second.client.dbsize()) == (before, 0)
