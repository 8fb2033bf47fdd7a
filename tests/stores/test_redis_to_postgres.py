"""redis-to-postgres as a user types it: a look, a copy, the refused ones again, the way forth and back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Opsctl
from tests.stores.postgres_server import PostgresServer
from tests.stores.redis_server import RedisServer

JOBS = 300


@dataclass(frozen=True)
class Place:
    """Jobs in Redis, and a table's name."""

    opsctl: Opsctl
    redis: Any
    postgres: PostgresServer
    table: str

    def migrate(self, *words: str) -> dict[str, Any]:
        return self.opsctl.json(
            *("migrate", "redis-to-postgres", "--from", "queue", "--to", "archive"),
            *("--match", "job:*", "--table", self.table, *words),
        )

    def keys(self) -> int:
        return len(list(self.redis.scan_iter("job:*", count=1000)))

    def rows(self) -> int:
        count = self.postgres.sql(f'SELECT count(*) FROM "{self.table}"')[0][0]
        assert isinstance(count, int)
        return count


@pytest.fixture
def place(redis_server: RedisServer, postgres: PostgresServer, tmp_path: Path) -> Iterator[Place]:
    client = redis_server.client
    client.flushdb()
    pipe = client.pipeline(transaction=False)
    for number in range(JOBS):
        fields = {
            "id": str(number),
            "zip": f"{number:05}",
            "cost": f"{number}.50",
            "done": "true" if number % 2 else "false",
            "at": f"2026-01-01T00:00:{number % 60:02}+01:00",
            "meta": json.dumps({"b": number, "a": ["ü", None]}),
            "note": "" if number % 3 else "tab\there",
        }
        pipe.hset(f"job:{number}", mapping=fields)
    pipe.hset("job:colour", mapping={"id": "999", "colour": "red"})
    pipe.hset("job:unfit", mapping={"id": "998", "cost": "much"})
    pipe.set("job:text", "no hash")
    pipe.set("other:1", "not meant")
    pipe.execute()
    stores = {"queue": {"redis": redis_server.url}, "archive": {"postgres": postgres.url}}
    (tmp_path / "opsctl.yaml").write_text(json.dumps({"version": 1, "stores": stores}))
    opsctl = Opsctl({"XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path)
    table = f"jobs_{uuid.uuid4().hex[:8]}"
    yield Place(opsctl, client, postgres, table)
    client.flushdb()
    postgres.sql(f'DROP TABLE IF EXISTS "{table}"')


TYPES = ("--column", "cost=numeric", "--column", "id=bigint")


def test_a_look_shows_the_table_and_writes_nothing(place: Place) -> None:
    found = place.migrate("--dry-run")
    assert found["ok"], found
    preview = found["droplets"][0]["result"]["preview"]
    columns = preview["transform"]["columns"]
    kinds = {name: text.partition(";")[0].partition(" ")[0] for name, text in columns.items()}
    kinds.pop("colour", None)
    wanted = {"key": "text", "id": "bigint", "zip": "text", "done": "boolean", "at": "timestamptz", "meta": "jsonb"}
    assert {name: kinds[name] for name in wanted} == wanted
    assert "numeric" in columns["cost"]
    assert not place.postgres.sql("SELECT to_regclass(%s)", place.table)[0][0]


def test_forth_and_back(place: Place) -> None:
    done = place.migrate(*TYPES)
    assert done["exit_code"] == 5, done
    result = done["droplets"][0]["result"]
    run, receipt = result["run_id"], result["receipt"]
    assert receipt["wanted_checksum"] == receipt["stored_checksum"]
    refused = receipt["counts"]["reasons"]
    assert refused["wrong-type"] == 1
    assert refused["unfit"] == 1
    assert place.rows() == JOBS + 2 - refused["unfit"] - refused.get("new-field", 0)
    again = place.migrate(*TYPES)["droplets"][0]["result"]["receipt"]["counts"]
    assert (again["verified"], again["unchanged"]) == (0, place.rows())
    finished = place.opsctl.json("migrate", "finish", run, "--yes")
    assert finished["exit_code"] in (0, 5), finished
    assert place.keys() == JOBS + 3 - place.rows()
    back = place.opsctl.json("migrate", "rollback", run, "--yes")
    assert back["ok"], back
    assert (place.keys(), place.rows()) == (JOBS + 3, 0)


def test_a_field_without_a_column_is_taken_once_there_is_one(place: Place) -> None:
    place.redis.delete("job:colour")
    run = place.migrate(*TYPES)["droplets"][0]["result"]["run_id"]
    place.redis.hset("job:late", mapping={"id": "997", "colour": "blue"})
    refused = place.migrate(*TYPES)["droplets"][0]["result"]
    assert refused["receipt"]["counts"]["reasons"]["new-field"] == 1
    place.postgres.sql(f'ALTER TABLE "{place.table}" ADD COLUMN colour text')
    replayed = place.opsctl.json("migrate", "replay", refused["run_id"])
    assert replayed["droplets"][0]["result"]["receipt"]["counts"]["verified"] == 1, replayed
    found = place.postgres.sql(f'SELECT key FROM "{place.table}" WHERE colour = %s', "blue")
    assert found == [("job:late",)]
    finished = place.opsctl.json("migrate", "finish", run, "--yes")["droplets"][0]["result"]["receipt"]["counts"]
    assert finished["removed"] == JOBS + 1, finished


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--column", "x"), "not a name and a type"),
        (("--column", "id=money"), "none of the types"),
        (("--match", "nothing:*"), "no hash to infer"),
        (("--key", "zip"), "have a field zip"),
        (("--table", "a.b.c"), "no name of a table"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_type(place: Place, words: tuple[str, ...], said: str) -> None:
    found = place.migrate(*words)
    assert found["exit_code"] in (2, 3)
    assert said in found["error"]["what"]
    assert found["error"]["next"]


def test_records_that_claim_one_id_are_not_all_said_to_be_there(place: Place) -> None:
    look = place.migrate("--id-from", "done", "--dry-run")["droplets"][0]["result"]["preview"]
    assert any("share their id with another one" in note for note in look["notes"]), look["notes"]
    done = place.migrate("--id-from", "done", "--batch", "50")
    receipt = done["droplets"][0]["result"]["receipt"]
    verified = receipt["counts"]["verified"]
    assert done["exit_code"] == 5
    assert verified > place.rows() == 2
    wanted = f"{verified - 2:,} of the verified records share their id with a later one"
    assert any(note.startswith(wanted) for note in receipt["notes"]), receipt["notes"]
    finished = place.opsctl.json("migrate", "finish", receipt["run_id"], "--yes")
    assert finished["droplets"][0]["result"]["receipt"]["counts"]["removed"] == 2
