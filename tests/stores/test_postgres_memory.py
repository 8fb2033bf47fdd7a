"""The fallback table: what a migration writes beside Weaviate comes back equal, with pgvector and without."""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Iterator, Sequence

import pytest
from tests.stores.postgres_server import PostgresServer

from opsctl.jobs.migrate_tee import Tee
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Item, Removal
from opsctl.model.vector_object import Value, VectorObject
from opsctl.stores import postgres_memory
from opsctl.stores.postgres_memory import PostgresMemory


def vector(seed: int, width: int = 384) -> bytes:
    chance = random.Random(seed)
    special = [0.0, -0.0, 1e-45, 3.4e38, 0.1, -1.17549435e-38]
    return struct.pack(f"<{width}f", *(special + [chance.gauss(0, 1) for _ in range(width)])[:width])


def item(key: str, group: str = "20260101", vector: bytes | None = None, **properties: Value) -> Item:
    body = VectorObject(properties, {"minilm": vector} if vector else {})
    name = str(uuid.uuid5(uuid.NAMESPACE_DNS, key))
    return Item(key.encode(), name, body, body.digest(["minilm"]), body.size, group)


ZOO = [
    item("plain", text="a cat sat on the mat", vector=vector(1)),
    item("no vector", text="nothing to embed"),
    item("numbers", text="n", score=1e22, small=-0.0, tiny=5e-324, whole=2**53, many=[1.5, 2.0], no=False),
    item("odd", text="a\0b \\ \t\n 漢🙂 \\N", vector=vector(2), names=["", "\\", '"']),
    item("no tenant", group="", text="x"),
    item("no text", other="y"),
    item("long", text="word " * 300_000),
]


@pytest.fixture(params=["pgvector", "plain"])
def memory(
    postgres: PostgresServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgresMemory]:
    """An empty table of its own kind: they have one name, and so one test has it at a time."""
    postgres.sql("DROP TABLE IF EXISTS opsctl_memory")
    if request.param == "plain":
        make = postgres_memory._make
        monkeypatch.setattr(postgres_memory, "_make", lambda each, *, vectors: make(each, vectors=False))
    elif not postgres.sql("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        pytest.skip("this PostgreSQL has no pgvector")
    sink = PostgresMemory(postgres.target, "Session", "minilm", model=lambda: "MiniLM int8")
    yield sink
    sink.close()
    postgres.sql("DROP TABLE IF EXISTS opsctl_memory")


def stored(sink: PostgresMemory, items: Sequence[Item]) -> None:
    sink.prepare({each.group for each in items}, Cancel())
    assert list(sink.write(items, Cancel())) == []


def test_all_kinds_of_items_come_back_equal(memory: PostgresMemory, postgres: PostgresServer) -> None:
    for _ in range(2):
        stored(memory, ZOO)
        assert list(memory.read(ZOO, Cancel())) == [each.digest for each in ZOO]
    assert postgres.sql("SELECT count(*) FROM opsctl_memory") == [(len(ZOO),)]
    words = postgres.sql("SELECT id::text FROM opsctl_memory WHERE words @@ plainto_tsquery('english', 'cats')")
    assert words == [(ZOO[0].id,)]
    models = postgres.sql("SELECT DISTINCT model, embedding IS NULL FROM opsctl_memory ORDER BY 1")
    assert models == [("", True), ("MiniLM int8", False)]


def test_what_somebody_changed_is_seen_and_left_alone(memory: PostgresMemory, postgres: PostgresServer) -> None:
    stored(memory, ZOO[:4])
    postgres.sql("UPDATE opsctl_memory SET tenant = '20260202' WHERE id = %s", ZOO[0].id)
    postgres.sql('UPDATE opsctl_memory SET body = \'{"text":"other"}\' WHERE id = %s', ZOO[1].id)
    postgres.sql("DELETE FROM opsctl_memory WHERE id = %s", ZOO[2].id)
    found = memory.read(ZOO[:4], Cancel())
    assert [now == each.digest for each, now in zip(ZOO, found, strict=False)] == [False, False, False, True]
    done = memory.remove([(each.id, each.group, each.digest) for each in ZOO[:4]], Cancel())
    assert list(done) == [Removal.CHANGED, Removal.CHANGED, Removal.GONE, Removal.REMOVED]
    assert memory.locate([each.id for each in ZOO], Cancel()) == {ZOO[0].id: "20260202", ZOO[1].id: "20260101"}


def test_a_width_that_does_not_fit_is_said_before(memory: PostgresMemory) -> None:
    wide = item("wide", text="x", vector=vector(3, 1536))
    assert "not 1536" in memory.check([wide, ZOO[0]], Cancel())[0]


def test_collections_are_kept_apart(memory: PostgresMemory, postgres: PostgresServer) -> None:
    other = PostgresMemory(postgres.target, "Personal", "minilm")
    stored(memory, ZOO[:1])
    stored(other, [item("plain", group="", text="another")])
    assert list(memory.read(ZOO[:1], Cancel())) == [ZOO[0].digest]
    other.close()


def test_another_table_of_that_name_is_refused(postgres: PostgresServer) -> None:
    postgres.sql("DROP TABLE IF EXISTS opsctl_memory")
    postgres.sql("CREATE TABLE opsctl_memory (id int)")
    try:
        with pytest.raises(ConfigError, match="not the one that opsctl makes"):
            PostgresMemory(postgres.target, "Session", "minilm").describe(Cancel())
    finally:
        postgres.sql("DROP TABLE opsctl_memory")


def test_a_tee_has_verified_what_both_have(memory: PostgresMemory, postgres: PostgresServer) -> None:
    second = PostgresMemory(postgres.target, "Copy", "minilm")
    tee = Tee(memory, second)
    tee.prepare({"20260101"}, Cancel())
    assert list(tee.write(ZOO[:3], Cancel())) == []
    assert list(tee.read(ZOO[:3], Cancel())) == [each.digest for each in ZOO[:3]]
    postgres.sql("DELETE FROM opsctl_memory WHERE collection = 'Copy' AND id = %s", ZOO[0].id)
    postgres.sql("UPDATE opsctl_memory SET tenant = 'x' WHERE collection = 'Session' AND id = %s", ZOO[1].id)
    found = tee.read(ZOO[:3], Cancel())
    assert found[0] is None
    assert found[1] not in (None, ZOO[1].digest)
    assert found[2] == ZOO[2].digest
    done = tee.remove([(each.id, each.group, each.digest) for each in ZOO[:3]], Cancel())
    assert list(done) == [Removal.REMOVED, Removal.CHANGED, Removal.REMOVED]
    said = tee.describe(Cancel())
    assert "Session" in said.identity
    assert "Copy" in said.identity
    tee.close()
