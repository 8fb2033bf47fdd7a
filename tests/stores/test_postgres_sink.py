"""A PostgreSQL table as a sink: what goes in is what is read back, byte by byte, whoever else is at work."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL
from tests.stores.postgres_server import PostgresServer, running

from opsctl.jobs.table_rows import TableRows
from opsctl.jobs.table_types import TAKEN
from opsctl.jobs.tables import Wanted, infer
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError, UnreachableError
from opsctl.model.migrate import Item, Record, Removal
from opsctl.model.rows import Column, TableShape, row_digest, to_line
from opsctl.model.secret import Secret
from opsctl.model.store import Target
from opsctl.stores import postgres_table as tables
from opsctl.stores.postgres_sink import PostgresSink, live_table

WORDS = ["", "\\N", "\\.", "a\tb\nc\rd\\e", "ünï 漢字 🙂", "\x01\x7f\b\f\v", "'; DROP TABLE x; --", "{}", " ", "NULL"]


def shape(*types: str, name: str = "") -> TableShape:
    columns = [Column("key", "text"), *(Column(f"c{number}", kind) for number, kind in enumerate(types))]
    return TableShape(name or f"t_{uuid.uuid4().hex[:12]}", tuple(columns))


def item(key: str, *values: str | None) -> Item:
    line = to_line([key, *values])
    return Item(key.encode(), key, line, row_digest(line), len(line))


@pytest.fixture
def opened(postgres: PostgresServer) -> Iterator[Any]:
    sinks: list[PostgresSink] = []

    def build(table: TableShape, **more: Any) -> PostgresSink:
        sinks.append(PostgresSink(postgres.target, table, **more))
        return sinks[-1]

    yield build
    for each in sinks:
        each.close()


def stored(sink: PostgresSink, items: Sequence[Item]) -> None:
    sink.prepare([""], Cancel())
    assert sink.write(items, Cancel()) == []


def same(sink: PostgresSink, items: Sequence[Item]) -> bool:
    return list(sink.read(items, Cancel())) == [each.digest for each in items]


def test_every_text_comes_back_as_it_went(opened: Any) -> None:
    sink = opened(shape("text", "text"))
    items = [item(f"k{number} {word}", word, None) for number, word in enumerate(WORDS)]
    stored(sink, items)
    assert same(sink, items)
    stored(sink, items)  # again: the ids are there already
    assert same(sink, items)


def samples(kind: str, chance: random.Random) -> Iterator[str]:
    """Texts of a type, of many shapes."""
    digits = lambda most: str(chance.randrange(10 ** chance.randint(1, most)))  # noqa: E731
    for _ in range(150):
        match kind:
            case "bigint":
                yield chance.choice(["", "-"]) + str(chance.randrange(1, 1 << chance.randint(1, 63)))
            case "numeric":
                sign, exponent = chance.choice(["", "-"]), chance.choice(["", "e5", "E-7", "e+0"])
                yield f"{sign}{chance.randrange(1, 10**6)}.{digits(12)}{exponent}"
            case "boolean":
                yield chance.choice(["true", "FALSE", "t", "0", "yes", "off"])
            case "timestamptz":
                fraction = chance.choice(["", ".5", ".100", f".{chance.randrange(10**6):06}"])
                zone = chance.choice(["", "Z", "+02", "-0530", "+05:45", " +01:00"])
                day = f"{chance.choice([1, 99, 1970, 2026, 9998]):04}-{chance.randint(1, 12):02}-28"
                yield f"{day}{chance.choice('T ')}{chance.randint(0, 23):02}:59:01{fraction}{zone}"
            case "uuid":
                text = str(uuid.UUID(int=chance.getrandbits(128)))
                yield text.upper() if chance.random() < 0.5 else text
            case "jsonb":
                yield json.dumps(_json(chance, 3), ensure_ascii=chance.random() < 0.5)


def _json(chance: random.Random, depth: int) -> Any:
    key = lambda: "".join(chance.choice('abAB éö漢🙂\\"\n\x7f\x01/') for _ in range(chance.randint(0, 6)))  # noqa: E731
    kind = chance.randrange(9 if depth else 6)
    if kind == 0:
        return key()
    if kind == 1:
        return chance.choice([0, -0.0, 1e22, 1.5e-9, -1e300, 12345678901234567890123, 1e16, 0.1, -2.50])
    if kind < 6:
        return chance.choice([None, True, False, chance.random(), chance.randrange(-(10**9), 10**9)])
    if kind == 6:
        return [_json(chance, depth - 1) for _ in range(chance.randint(0, 4))]
    return {key(): _json(chance, depth - 1) for _ in range(chance.randint(0, 6))}


@pytest.mark.parametrize("kind", sorted(set(TAKEN) - {"text"}))
def test_values_are_written_as_the_server_will_write_them(opened: Any, kind: str) -> None:
    sink = opened(shape(kind))
    items = []
    for number, text in enumerate(samples(kind, random.Random(7))):
        try:
            canonical = TAKEN[kind](text)
        except ValueError:
            continue
        items.append(item(f"k{number}", canonical))
    assert len(items) > 70
    stored(sink, items)
    found = sink.read(items, Cancel())
    assert [each.body for each, now in zip(items, found, strict=True) if now != each.digest] == []


def test_the_server_s_own_settings_change_nothing(postgres: PostgresServer, opened: Any) -> None:
    table = shape("timestamptz")
    sink = opened(table)
    items = [item("a", TAKEN["timestamptz"]("2026-03-01T10:00:00.25+02:00"))]
    stored(sink, items)
    postgres.sql("ALTER ROLE CURRENT_USER SET timezone = 'Asia/Tokyo'")
    postgres.sql("ALTER ROLE CURRENT_USER SET datestyle = 'German'")
    try:
        other = opened(table)
        assert same(other, items)
    finally:
        postgres.sql("ALTER ROLE CURRENT_USER RESET ALL")


def test_a_row_that_is_refused_stops_no_other(postgres: PostgresServer, opened: Any) -> None:
    table = shape("bigint")
    postgres.sql(f"CREATE TABLE {table.name} (key text PRIMARY KEY, c0 bigint CHECK (c0 <> 13))")
    sink = opened(table)
    items = [item(f"k{number}", str(number)) for number in range(40)]
    rejected = sink.write(items, Cancel())
    assert [(each.key, each.code) for each in rejected] == [(b"k13", "refused")]
    assert "check" in rejected[0].reason
    assert [now is None for now in sink.read(items, Cancel())] == [number == 13 for number in range(40)]


def test_conflicts_by_key_replace_the_row_and_nothing_else(postgres: PostgresServer, opened: Any) -> None:
    table = shape("text")
    postgres.sql(f"CREATE TABLE {table.name} (key text PRIMARY KEY, c0 text, own text DEFAULT 'mine')")
    postgres.sql(f"INSERT INTO {table.name} VALUES ('a', 'old', 'kept'), ('other', 'x', 'y')")
    sink = opened(table)
    stored(sink, [item("a", "new"), item("b", "first"), item("b", "last")])
    assert postgres.sql(f"SELECT * FROM {table.name} ORDER BY key") == [
        ("a", "new", "kept"),
        ("b", "last", "mine"),
        ("other", "x", "y"),
    ]


def test_keys_of_any_text_are_found(opened: Any) -> None:
    sink = opened(shape("text"))
    items = [item(key, "x") for key in ('"', "\\", "a,b", "{}", "NULL", '","', " ", "a\nb", '\\\\"', "ü", "plain")]
    stored(sink, items)
    assert same(sink, items)
    assert list(sink.remove([(each.id, "", each.digest) for each in items], Cancel())) == [Removal.REMOVED] * len(items)
    assert list(sink.read(items, Cancel())) == [None] * len(items)


@pytest.mark.parametrize("statement", ["SELECT", "DELETE"])
def test_a_batch_is_found_by_the_index_and_not_by_reading_the_table(postgres: PostgresServer, statement: str) -> None:
    table = shape("text")
    postgres.sql(f"CREATE TABLE {table.name} (key text PRIMARY KEY, c0 text)")
    postgres.sql(f"INSERT INTO {table.name} SELECT 'job:' || n, 'x' FROM generate_series(1, 30000) n")
    keys = [f"job:{number}" for number in range(1000)]
    head = {"SELECT": "SELECT c0 FROM", "DELETE": "DELETE FROM"}[statement]
    with psycopg.connect(postgres.url) as connection:
        query = SQL("EXPLAIN {} {}").format(SQL(head), tables.name_of(table.name)) + tables.among(table.key, keys)
        plan = [line for (line,) in connection.execute(query)]
    assert "Index" in " ".join(plan)
    assert "Seq Scan" not in " ".join(plan)


def test_only_what_is_unchanged_is_taken_back(postgres: PostgresServer, opened: Any) -> None:
    table = shape("text")
    sink = opened(table)
    items = [item("a", "1"), item("b", "2"), item("c", "3")]
    stored(sink, items)
    postgres.sql(f"UPDATE {table.name} SET c0 = 'theirs' WHERE key = 'b'")
    postgres.sql(f"DELETE FROM {table.name} WHERE key = 'c'")
    done = sink.remove([(each.id, "", each.digest) for each in items], Cancel())
    assert list(done) == [Removal.REMOVED, Removal.CHANGED, Removal.GONE]
    assert postgres.sql(f"SELECT key FROM {table.name}") == [("b",)]
    assert sink.locate(["a", "b"], Cancel()) == {"b": ""}


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("key text, c0 text", "key is not unique"),
        ("key text PRIMARY KEY", "has no column c0"),
        ("key text PRIMARY KEY, c0 bigint", "c0 is bigint, and the rows have text"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    postgres: PostgresServer, opened: Any, definition: str, said: str
) -> None:
    table = shape("text")
    postgres.sql(f"CREATE TABLE {table.name} ({definition})")
    with pytest.raises(ConfigError, match=said):
        opened(table).describe(Cancel())


def test_a_table_that_cannot_be_made_says_the_server_s_words(opened: Any) -> None:
    with pytest.raises(OpsError, match="does not take rows") as caught:
        opened(shape("text", name="no_such_schema.t")).prepare([""], Cancel())
    assert 'schema "no_such_schema" does not exist' in caught.value.info.why


def test_names_are_quoted_and_a_schema_is_kept_apart(postgres: PostgresServer, opened: Any) -> None:
    postgres.sql('CREATE SCHEMA IF NOT EXISTS "odd one"')
    table = TableShape(
        'odd one.Tab"le', (Column("Key", "text"), Column('we"ird; DROP', "text"), Column("50%s", "text"))
    )
    sink = opened(table)
    items = [item("a", "1", "2")]
    assert list(sink.check(items, Cancel())) == []
    assert "is made" in " ".join(sink.describe(Cancel()).notes)
    stored(sink, items)
    assert same(sink, items)
    assert live_table(postgres.target, table.name, Cancel()) == (
        {"Key": "text", 'we"ird; DROP': "text", "50%s": "text"},
        True,
    )
    stored(sink, items)  # now by way of the temporary table
    assert list(sink.remove([("a", "", items[0].digest)], Cancel())) == [Removal.REMOVED]


def test_a_column_added_later_changes_no_row(postgres: PostgresServer, opened: Any) -> None:
    first = shape("text")
    sink = opened(first)
    items = [item("a", "1"), item("b", None)]
    stored(sink, items)
    postgres.sql(f"ALTER TABLE {first.name} ADD COLUMN colour text")
    wider = opened(TableShape(first.name, (*first.columns, Column("colour", "text"))))
    assert same(wider, items)
    postgres.sql(f"UPDATE {first.name} SET colour = 'red'")
    assert not same(wider, items)


def test_two_at_once_make_one_table_and_lose_nothing(opened: Any) -> None:
    table = shape("text")
    sinks = [opened(table), opened(table)]
    items = [item(f"k{number}", "x" * 50) for number in range(2000)]
    errors: list[BaseException] = []

    def work(sink: PostgresSink) -> None:
        try:
            for start in range(0, len(items), 250):
                stored(sink, items[start : start + 250])
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in sinks]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert same(sinks[0], items)


def test_a_check_tells_rows_that_the_server_would_change(opened: Any) -> None:
    sink = opened(shape("numeric"))
    assert list(sink.check([item("a", "1.50")], Cancel())) == []
    assert "other words" in sink.check([item("a", "1.50"), item("b", "1e3")], Cancel())[0]
    assert "invalid input syntax" in sink.check([item("a", "x")], Cancel())[0]


def test_a_transform_s_rows_are_read_back_equal(opened: Any) -> None:
    fields = {b"id": b"7", b"at": b"2026-01-01T00:00:00+01:00", b"meta": b'{"b": 1, "a": [2.50]}', b"note": b"a\tb"}
    records = [Record(f"job:{number}".encode(), fields, b"d" * 16, 9, "hash") for number in range(5)]
    table = infer(records, Wanted(f"t_{uuid.uuid4().hex[:12]}"))
    items = [each for each in TableRows(table).apply(records, {}, Cancel()) if isinstance(each, Item)]
    assert len(items) == 5
    sink = opened(table.shape)
    stored(sink, items)
    assert same(sink, [each._replace(body=None) for each in items])


def test_a_restart_in_the_middle_is_waited_for() -> None:
    with running() as server:
        sink = PostgresSink(server.target, shape("text"))
        first, second = [item("a", "1")], [item("b", "2")]
        stored(sink, first)
        server.stop()
        back = threading.Timer(1.0, server.start)
        back.start()
        try:
            stored(sink, second)
        finally:
            back.join()
        assert same(sink, first + second)
        sink.close()


def test_who_is_not_there_is_said_in_time(postgres: PostgresServer) -> None:
    nobody = Target("postgres", Secret("postgresql://x:pass-word@127.0.0.1:1/x"), "127.0.0.1:1/x", "x")
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1") as caught:
        PostgresSink(nobody, shape("text"), patience=0.2).describe(Cancel())
    assert "pass-word" not in str(caught.value.info)
    other = Target("postgres", Secret(f"{postgres.url}_none"), "here", "x")
    with pytest.raises(ConfigError, match="does not do it"):
        PostgresSink(other, shape("text")).describe(Cancel())


def test_a_stop_is_heard(postgres: PostgresServer) -> None:
    from opsctl.model.errors import Interrupted

    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Interrupted):
        PostgresSink(postgres.target, shape("text")).describe(cancel)
