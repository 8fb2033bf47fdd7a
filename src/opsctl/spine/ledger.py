"""What a migration knows of each key: SQLite, one row a key, safe against kill -9 and power loss, bounded memory.

It makes reruns cheap and is never the truth: without it a run is slower and leads to the same end. So a commit is not
synced by itself (WAL, synchronous=NORMAL): a power loss may take the newest rows and never tears one. The export,
which is synced, is what they are made from again: `runs` says up to where each export is in the ledger.

Keys come in no order, and a B-tree of a million of them has thousands of pages. Therefore the index is over 4 bytes of
hash, rows are appended, a transaction takes thousands, and one statement hundreds of them (each statement also gives
the interpreter's lock away).
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from opsctl.model.migrate import Entry, State
from opsctl.spine.ledger_file import Lock, connect, create, explained, quietly

CHUNK = 2_000  # rows read at once when the whole ledger is gone through
VERSION = 1
_ASKED = 256  # keys in one look-up
_AT_ONCE = (200, 20, 1)  # rows in one statement
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, export TEXT NOT NULL, settled INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (
  n INTEGER PRIMARY KEY, hash INTEGER NOT NULL, key BLOB NOT NULL, state INTEGER NOT NULL, source BLOB NOT NULL,
  item BLOB NOT NULL, stored BLOB NOT NULL, id TEXT NOT NULL, place TEXT NOT NULL, day TEXT NOT NULL,
  run INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_hash ON entries (hash);
"""
_COLUMNS = "key, state, source, item, id, place, day, stored, run, n"
_NEW = "INSERT INTO entries (run, n, hash, key, state, source, item, stored, id, place, day) VALUES "
_OLD = " ON CONFLICT (n) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in ("state", "source", "item", "stored", "id", "place", "day", "run")
)
_OVERWRITTEN = """
SELECT coalesce(sum(more), 0)
FROM (SELECT count(*) - 1 AS more FROM entries WHERE state = ? GROUP BY place, id HAVING more)
"""
_STATES = tuple(sorted(State))

# key, state, digest at the source, digest of the item, digest read back, id, group, day
Row = tuple[bytes, int, bytes, bytes, bytes, str, str, str]


@dataclass(frozen=True)
class Exporting:
    """A run by its export, and up to which byte of it everything is in the ledger."""

    run: str
    export: Path
    settled: int


class Ledger:
    """Its methods may be called from any thread; writes go one after the other through one connection.

    One process at a time holds it. Every method raises OpsError when the disk is full or the file is damaged.
    """

    def __init__(self, path: Path, run_id: str, export: Path | None = None) -> None:
        """Open or make it, 0600; `export` is what this run writes down first. Raises LeaseHeld, OpsError."""
        self.path = path
        self._reading, self._writing = threading.Lock(), threading.Lock()
        create(path)
        self._lock = Lock(path, run_id)
        try:
            with explained(path):
                self._writer = connect(path, cache=16_384)
                self._reader = connect(path, cache=4_096)
                self._writer.executescript(_SCHEMA)
                self._writer.execute(f"PRAGMA user_version = {VERSION}")
                self._run = self._own(run_id, export)
                self._names = _names(self._writer)
        except BaseException:
            self._lock.release()
            raise

    def _own(self, run_id: str, export: Path | None) -> int:
        known = self._number(run_id)
        if known is None:
            self._writer.execute("INSERT INTO runs (id, export, settled) VALUES (?, ?, 0)", (run_id, str(export or "")))
            known = self._number(run_id)
        elif export is not None:
            self._writer.execute("UPDATE runs SET export = ? WHERE n = ?", (str(export), known))
        assert known is not None
        return known

    def _number(self, run_id: str) -> int | None:
        found = self._writer.execute("SELECT n FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if found is None else int(found[0])

    def entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The rows there are for these keys."""
        with self._reading, explained(self.path):
            return entries(self._reader, keys, self._names)

    def put(
        self,
        rows: Sequence[Row],
        known: Mapping[bytes, Entry],
        *,
        settled: int | None = None,
        run: str | None = None,
    ) -> None:
        """Keep these, as one transaction: `known` are the rows there are already, as `entries` gave them.

        With them goes up to where the run's export is settled. The run is this one, or the one that is named.
        """
        with self._transaction() as writer:
            number = self._run if run is None else (self._number(run) or self._run)
            old = [(known[row[0]].row, _hash(row[0]), *row) for row in rows if row[0] in known]
            new = [(_hash(row[0]), *row) for row in rows if row[0] not in known]
            _insert(writer, f"({number}, {_holes(10)})", old, _OLD)
            _insert(writer, f"({number}, NULL, {_holes(9)})", new)
            if settled is not None:
                writer.execute("UPDATE runs SET settled = ? WHERE n = ?", (settled, number))

    def mark(self, rows: Iterable[Entry], state: State) -> None:
        """Another state for these rows."""
        numbers = [row.row for row in rows]
        with self._transaction() as writer:
            for start in range(0, len(numbers), _ASKED):
                some = numbers[start : start + _ASKED]
                there = ", ".join("?" * len(some))
                writer.execute(f"UPDATE entries SET state = {int(state)} WHERE n IN ({there})", some)  # noqa: S608

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing, explained(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                quietly(self._writer.rollback)
                raise

    def exports(self) -> list[Exporting]:
        """Every run that wrote an export."""
        with self._reading, explained(self.path):
            found = self._reader.execute(
                "SELECT id, export, settled FROM runs WHERE export <> '' ORDER BY n"
            ).fetchall()
        return [Exporting(run, Path(export), settled) for run, export, settled in found]

    def counts(self) -> dict[State, int]:
        """How many keys are in each state."""
        with self._reading, explained(self.path):
            return _counts(self._reader)

    def overwritten(self) -> int:
        """How many verified keys have an id that another verified key has, too, all but one of each."""
        with self._reading, explained(self.path):
            return int(self._reader.execute(_OVERWRITTEN, (int(State.VERIFIED),)).fetchone()[0])

    def chunks(self, *states: State, size: int = CHUNK) -> Iterator[list[Entry]]:
        """All rows in these states, in the order of their first sight; they may be marked while this goes on."""
        for rows in self._chunks(_COLUMNS, states, size):
            yield [_entry(row, self._names) for row in rows]

    def proofs(self, *states: State) -> Iterator[list[tuple[bytes, bytes, bytes]]]:
        """(key, digest of the item, digest that was read back) of all rows in these states."""
        for rows in self._chunks("key, item, stored, n", states, CHUNK):
            yield [(key, item, stored) for key, item, stored, _n in rows]

    def _chunks(self, columns: str, states: Sequence[State], size: int) -> Iterator[list[tuple[bytes, ...]]]:
        after: object = 0
        while True:
            with self._reading, explained(self.path):
                rows = _chunk(self._reader, columns, states, after, size)
            if not rows:
                return
            after = rows[-1][-1]
            yield rows

    def sample(self, size: int) -> list[Entry]:
        """So many of the verified rows, by luck."""
        question = f"SELECT {_COLUMNS} FROM entries WHERE state = 1 ORDER BY random() LIMIT ?"  # noqa: S608
        with self._reading, explained(self.path):
            return [_entry(row, self._names) for row in self._reader.execute(question, (size,))]

    def sync(self) -> None:
        """All that was committed is on the disk when this returns."""
        with self._writing, explained(self.path):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """End it; safe to call twice."""
        for each in (self._reader, self._writer):
            quietly(each.close)
        self._lock.release()


class Peek:
    """A ledger looked at while another run may hold it; writes nothing, and is empty where there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: sqlite3.Connection | None = None
        if path.exists() and path.stat().st_size:
            with explained(path):
                self._reader = connect(path, cache=4_096)
                self._reader.execute("PRAGMA query_only = ON")

    def entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The rows there are for these keys."""
        if self._reader is None:
            return {}
        with explained(self._path):
            return entries(self._reader, keys, _names(self._reader))

    def counts(self) -> dict[State, int]:
        """How many keys are in each state."""
        if self._reader is None:
            return {}
        with explained(self._path):
            return _counts(self._reader)

    def chunks(self, *states: State, size: int = CHUNK) -> Iterator[list[Entry]]:
        """All rows in these states, in the order of their first sight."""
        after: object = 0
        while self._reader is not None:
            with explained(self._path):
                rows = _chunk(self._reader, _COLUMNS, states, after, size)
                names = _names(self._reader)
            if not rows:
                return
            after = rows[-1][-1]
            yield [_entry(row, names) for row in rows]

    def close(self) -> None:
        """End it; safe to call twice."""
        if self._reader is not None:
            quietly(self._reader.close)


def entries(reader: sqlite3.Connection, keys: Sequence[bytes], names: Mapping[int, str]) -> dict[bytes, Entry]:
    """The rows of these keys, asked for a few hundred at a time."""
    found: dict[bytes, Entry] = {}
    wanted = set(keys)
    question = f"SELECT {_COLUMNS} FROM entries WHERE hash IN ({_holes(_ASKED)})"  # noqa: S608
    for start in range(0, len(keys), _ASKED):
        asked: list[int | None] = [_hash(key) for key in keys[start : start + _ASKED]]
        asked += [None] * (_ASKED - len(asked))  # one statement, prepared once
        for row in reader.execute(question, asked):
            if row[0] in wanted:
                found[row[0]] = _entry(row, names)
    return found


def _chunk(
    reader: sqlite3.Connection, columns: str, states: Sequence[State], after: object, size: int
) -> list[tuple[Any, ...]]:
    wanted = ", ".join(str(int(state)) for state in states)
    question = f"SELECT {columns} FROM entries WHERE n > ? AND state IN ({wanted}) ORDER BY n LIMIT ?"  # noqa: S608
    return reader.execute(question, (after, size)).fetchall()


def _counts(reader: sqlite3.Connection) -> dict[State, int]:
    found = reader.execute("SELECT state, count(*) FROM entries GROUP BY state").fetchall()
    return {State(state): count for state, count in found}


def _entry(row: Sequence[Any], names: Mapping[int, str]) -> Entry:
    key, state, source, item, identity, place, day, stored, run, number = row
    return Entry(key, _STATES[state], source, item, identity, place, day, stored, names.get(run, ""), number)


def _names(reader: sqlite3.Connection) -> dict[int, str]:
    return dict(reader.execute("SELECT n, id FROM runs").fetchall())


def _insert(writer: sqlite3.Connection, holes: str, rows: Sequence[tuple[object, ...]], end: str = "") -> None:
    start = 0
    for size in _AT_ONCE:
        while len(rows) - start >= size:
            values = list(chain.from_iterable(rows[start : start + size]))
            writer.execute(_NEW + ", ".join([holes] * size) + end, values)
            start += size


def _holes(count: int) -> str:
    return ", ".join("?" * count)


def _hash(key: bytes) -> int:
    """Four bytes, so that the index is small; keys that share them are told apart when they are read."""
    return zlib.crc32(key)
