"""What a migration knows of each key: SQLite, one row a key, safe against kill -9 and power loss, bounded memory.

It makes reruns cheap and is never the truth: without it a run is slower and leads to the same end. So a commit is not
synced by itself (WAL, synchronous=NORMAL): a power loss may take the newest rows and never tears one, and what they
said is found out again. `sync` is for the moments on which something stands.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opsctl.model.migrate import Entry, State
from opsctl.spine.ledger_file import Lock, create, explained

# key, digest at the source, digest of the item, id, group, day
Claim = tuple[bytes, bytes, bytes, str, str, str]

VERSION = 1
CHUNK = 2_000  # rows read at once when the whole ledger is gone through
_ASKED = 500  # keys in one look-up
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS entries (
  key BLOB PRIMARY KEY, state INTEGER NOT NULL, source BLOB NOT NULL, item BLOB NOT NULL, stored BLOB NOT NULL,
  id TEXT NOT NULL, place TEXT NOT NULL, day TEXT NOT NULL, run INTEGER NOT NULL
);
"""
_COLUMNS = (
    "e.key, e.state, e.source, e.item, e.id, e.place, e.day, e.stored, r.id FROM entries e JOIN runs r ON r.n = e.run"
)
_CLAIM = """
INSERT INTO entries (key, state, source, item, stored, id, place, day, run) VALUES (?, 0, ?, ?, x'', ?, ?, ?, :run)
ON CONFLICT (key) DO UPDATE SET state = 0, source = excluded.source, item = excluded.item, stored = x'',
  id = excluded.id, place = excluded.place, run = excluded.run,
  day = CASE day WHEN '' THEN excluded.day ELSE day END
"""
_QUARANTINE = """
INSERT INTO entries (key, state, source, item, stored, id, place, day, run) VALUES (?, 2, ?, x'', x'', '', '', ?, :run)
ON CONFLICT (key) DO UPDATE SET state = 2, source = excluded.source, run = excluded.run
"""


class Ledger:
    """Its methods may be called from any thread; writes go one after the other through one connection.

    One process at a time holds it. Every method raises OpsError when the disk is full or the file is damaged.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        """Open or make it, 0600. Raises LeaseHeld when another run has it."""
        self.path = path
        self._reading, self._writing = threading.Lock(), threading.Lock()
        create(path)
        self._lock = Lock(path, run_id)
        try:
            with explained(path):
                self._writer = _connect(path, cache=8_192)
                self._reader = _connect(path, cache=4_096)
                self._run = self._prepare(run_id)
        except BaseException:
            self._lock.release()
            raise

    def _prepare(self, run_id: str) -> int:
        self._writer.executescript(_SCHEMA)
        self._writer.execute(f"PRAGMA user_version = {VERSION}")
        self._writer.execute("INSERT OR IGNORE INTO runs (id) VALUES (?)", (run_id,))
        found: int = self._writer.execute("SELECT n FROM runs WHERE id = ?", (run_id,)).fetchone()[0]
        return found

    def entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The rows there are for these keys."""
        with self._reading, explained(self.path):
            return entries(self._reader, keys)

    def claim(self, rows: Iterable[Claim]) -> None:
        """What is about to be written to the sink, as one transaction; the day of a key's first claim stays."""
        self._apply(_CLAIM.replace(":run", str(self._run)), rows)

    def verify(self, rows: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """(digest read back, key, digest at the source) of what is proved; a row claimed anew meanwhile stays SEEN."""
        self._apply("UPDATE entries SET state = 1, stored = ? WHERE key = ? AND source = ?", rows)

    def quarantine(self, rows: Iterable[tuple[bytes, bytes, str]]) -> None:
        """(key, digest at the source, day) of what was not taken."""
        self._apply(_QUARANTINE.replace(":run", str(self._run)), rows)

    def mark(self, keys: Iterable[bytes], state: State) -> None:
        """Another state for these keys."""
        self._apply("UPDATE entries SET state = ? WHERE key = ?", ((int(state), key) for key in keys))

    def _apply(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        with self._transaction() as writer:
            writer.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing, explained(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                _quietly(self._writer.rollback)
                raise

    def counts(self) -> dict[State, int]:
        """How many keys are in each state."""
        with self._reading, explained(self.path):
            found = self._reader.execute("SELECT state, count(*) FROM entries GROUP BY state").fetchall()
        return {State(state): count for state, count in found}

    def chunks(self, *states: State, size: int = CHUNK) -> Iterator[list[Entry]]:
        """All rows in these states, in the order of their first claim; they may be marked while this goes on."""
        after = 0
        wanted = ", ".join(str(int(state)) for state in states)
        question = f"SELECT e.rowid, {_COLUMNS} WHERE e.rowid > ? AND e.state IN ({wanted}) ORDER BY e.rowid LIMIT ?"
        while True:
            with self._reading, explained(self.path):
                rows = self._reader.execute(question, (after, size)).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield [_entry(row[1:]) for row in rows]

    def sample(self, size: int) -> list[Entry]:
        """So many of the verified rows, by luck."""
        question = f"SELECT {_COLUMNS} WHERE e.state = 1 ORDER BY random() LIMIT ?"
        with self._reading, explained(self.path):
            return [_entry(row) for row in self._reader.execute(question, (size,))]

    def sync(self) -> None:
        """All that was committed is on the disk when this returns."""
        with self._writing, explained(self.path):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """End it; safe to call twice."""
        for each in (self._reader, self._writer):
            _quietly(each.close)
        self._lock.release()


class Peek:
    """A ledger looked at while another run may hold it; writes nothing, and is empty where there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: sqlite3.Connection | None = None
        if path.exists() and path.stat().st_size:
            with explained(path):
                self._reader = _connect(path, cache=4_096)
                self._reader.execute("PRAGMA query_only = ON")

    def entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The rows there are for these keys."""
        if self._reader is None:
            return {}
        with explained(self._path):
            return entries(self._reader, keys)

    def close(self) -> None:
        """End it; safe to call twice."""
        if self._reader is not None:
            _quietly(self._reader.close)


def entries(reader: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Entry]:
    """The rows of these keys, asked for a few hundred at a time."""
    found: dict[bytes, Entry] = {}
    question = f"SELECT {_COLUMNS} WHERE e.key IN ({', '.join('?' * _ASKED)})"
    for start in range(0, len(keys), _ASKED):
        asked: list[bytes | None] = list(keys[start : start + _ASKED])
        asked += [None] * (_ASKED - len(asked))  # one statement, prepared once
        found |= {row[0]: _entry(row) for row in reader.execute(question, asked)}
    return found


def _entry(row: Sequence[object]) -> Entry:
    key, state, source, item, identity, place, day, stored, run = row
    return Entry(key, State(state), source, item, identity, place, day, stored, run)  # type: ignore[arg-type]


def _connect(path: Path, *, cache: int) -> sqlite3.Connection:
    found = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=32)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"cache_size = -{cache}", "mmap_size = 0"):
        found.execute(f"PRAGMA {pragma}").fetchall()
    return found


def _quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except sqlite3.Error:
        return
