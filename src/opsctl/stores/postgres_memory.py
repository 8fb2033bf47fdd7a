"""The fallback table of memory items: written beside Weaviate, read back and compared like it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from opsctl.model import assets
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError
from opsctl.model.migrate import Described, Item, Rejected, Removal
from opsctl.model.rows import NULL, escape
from opsctl.model.store import Target
from opsctl.model.vector_object import VectorObject
from opsctl.stores import postgres_table as tables
from opsctl.stores.postgres_connect import PATIENCE, Postgres, put_apart, words

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")
TABLE = "opsctl_memory"
WIDTH = 384
_READ = 1000  # rows in one read
_STAGED = """CREATE TEMPORARY TABLE opsctl_rows ON COMMIT DROP AS
    SELECT collection, id, tenant, body, text, model, embedding FROM opsctl_memory WITH NO DATA"""
_COPY = "COPY pg_temp.opsctl_rows FROM STDIN"
_MERGE = """INSERT INTO opsctl_memory (collection, id, tenant, body, text, model, embedding)
    SELECT * FROM pg_temp.opsctl_rows ON CONFLICT (collection, id) DO UPDATE SET tenant = EXCLUDED.tenant,
    body = EXCLUDED.body, text = EXCLUDED.text, model = EXCLUDED.model, embedding = EXCLUDED.embedding,
    written = now()"""


class PostgresMemory:
    """One collection's items in the table `opsctl_memory`, which is made when it is not there.

    The body of an item is a VectorObject, whose vector `vector` ("" without one) goes into `embedding`. `model` says
    which model made the vectors; it is asked once there are some. Without pgvector they are kept, and not searched.
    """

    def __init__(
        self,
        target: Target,
        collection: str,
        vector: str,
        *,
        model: Callable[[], str] = lambda: "",
        patience: float = PATIENCE,
    ) -> None:
        self._postgres = Postgres(target, patience=patience)
        self._target = target
        self._collection = collection
        self._vector = vector
        self._model = model
        self._label: str | None = None
        self._making = threading.Lock()
        self._sends = ""  # the function that gives an embedding's bytes, once it is known

    def describe(self, cancel: Cancel) -> Described:
        """Connect. Raises ConfigError for a table of that name that is another one."""
        version = self._postgres.version(cancel)
        live, _ = self._look(cancel)
        self._check_live(live)
        kinds = {
            "vector": "vectors and full text are searched",
            "real[]": "full text is searched; without pgvector vectors are only kept",
        }
        note = kinds.get(live.get("embedding", ""), "the table is made")
        return Described(
            "PostgreSQL",
            version,
            f"{self._target.shown}/{TABLE}",
            f"postgres:{self._target.identity}/{TABLE}/{self._collection}",
            (f"{TABLE}: {note}",),
        )

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """Widths that the table does not take."""
        widths = {len(vector) // 4 for item in sample if (vector := _body(item).vectors.get(self._vector))}
        return [f"{TABLE} takes {WIDTH} numbers an embedding, not {each}" for each in widths - {WIDTH}]

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """Make the table if it is not there."""
        self._ready(cancel)

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """Upsert in one transaction; the items that are refused come back with why."""
        import psycopg

        self._ready(cancel)
        unique = list({item.id: item for item in items}.values())
        try:
            return put_apart(unique, lambda some: self._put(some, cancel))
        except psycopg.Error as error:
            raise self._failed(error) from None

    def _put(self, items: Sequence[Item], cancel: Cancel) -> None:
        from psycopg.sql import SQL, Composed

        # Asked once: the model may be at work for another batch, and would have to be waited for.
        if self._label is None and any(_body(item).vectors for item in items):
            self._label = self._model()
        lines = [self._line(item, self._label or "") for item in items]

        def merge(connection: Connection[Any]) -> None:
            connection.execute(_STAGED)
            tables.copy_in(connection, Composed([SQL(_COPY)]), lines)
            connection.execute(_MERGE)

        self._postgres.run("a batch", merge, cancel)

    def _line(self, item: Item, model: str) -> bytes:
        body = _body(item)
        text = body.properties.get("text")
        vector = body.vectors.get(self._vector)
        cells = (
            self._collection,
            item.id,
            item.group,
            json.dumps(body.properties, ensure_ascii=False, separators=(",", ":"), default=list),
            text.replace("\0", " ") if isinstance(text, str) else "",
            model if vector else "",
        )
        return "\t".join([*map(escape, cells), self._numbers(vector) if vector else NULL]).encode()

    def _numbers(self, vector: bytes) -> str:
        import numpy

        inside = ",".join(map(repr, numpy.frombuffer(vector, "<f4").tolist()))
        return f"[{inside}]" if self._sends == "vector_send" else f"{{{inside}}}"

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """The digest of each object as it can be made again from its row; of another one where its tenant differs."""
        self._ready(cancel)
        found: dict[str, tuple[str, bytes]] = {}
        ids = [item.id for item in items]
        for start in range(0, len(ids), _READ):
            found |= self._rows(ids[start : start + _READ], cancel)
        return [_at(found.get(item.id), item.group) for item in items]

    def _rows(self, ids: Sequence[str], cancel: Cancel) -> dict[str, tuple[str, bytes]]:
        return self._run("reading back", lambda each: self._found(each, ids, lock=False), cancel)

    def _found(self, connection: Connection[Any], ids: Sequence[str], *, lock: bool) -> dict[str, tuple[str, bytes]]:
        from psycopg.sql import SQL

        query = SQL(
            "SELECT id::text, tenant, body::text, {}(embedding) FROM opsctl_memory"
            " WHERE collection = %s AND id = ANY(%s::uuid[])"
        ).format(SQL(self._sends))
        rows = connection.execute(
            query + SQL(" FOR UPDATE" if lock else ""), (self._collection, list(ids)), binary=True
        )
        return {name: (tenant, self._digest(body, sent)) for name, tenant, body, sent in rows.fetchall()}

    def _digest(self, body: str, sent: bytes | None) -> bytes:
        vectors = {} if sent is None else {self._vector: _little(sent, self._sends)}
        return VectorObject(json.loads(body), vectors).digest((self._vector,) if self._vector else ())

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """The tenant each is in."""
        self._ready(cancel)
        return {name: tenant for name, (tenant, _) in self._rows(ids, cancel).items()}

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Delete rows that are still as they were written, looked at and deleted under one lock."""
        self._ready(cancel)
        wanted = {name: (group, content) for name, group, content in written}

        def take(connection: Connection[Any]) -> dict[str, Removal]:
            found = self._found(connection, list(wanted), lock=True)
            same = [name for name, row in found.items() if row == wanted[name]]
            connection.execute(
                "DELETE FROM opsctl_memory WHERE collection = %s AND id = ANY(%s::uuid[])", (self._collection, same)
            )
            return dict.fromkeys(found, Removal.CHANGED) | dict.fromkeys(same, Removal.REMOVED)

        done = self._run("taking items back", take, cancel)
        return [done.get(name, Removal.GONE) for name, _, _ in written]

    def close(self) -> None:
        """End the connections."""
        self._postgres.close()

    # The table

    def _ready(self, cancel: Cancel) -> None:
        with self._making:
            if not self._sends:
                live, can = self._look(cancel)
                if "embedding" not in live:
                    self._run("making the table", lambda each: _make(each, vectors=can), cancel)
                    live, _ = self._look(cancel)
                self._check_live(live)
                self._sends = "vector_send" if live["embedding"] == "vector" else "array_send"

    def _look(self, cancel: Cancel) -> tuple[dict[str, str], bool]:
        def look(connection: Connection[Any]) -> tuple[dict[str, str], bool]:
            there = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
            return tables.live_columns(connection, TABLE), there is not None

        return self._run("looking at the table", look, cancel)

    def _check_live(self, live: Mapping[str, str]) -> None:
        missing = {"collection", "id", "tenant", "body", "text", "model"} - set(live) if live else set()
        if missing:
            raise ConfigError(
                f"the table {TABLE} at {self._target.shown} is not the one that opsctl makes",
                why=f"it has no {', '.join(sorted(missing))}",
                next=f"ALTER TABLE {TABLE} RENAME TO another_name;",
            )

    def _run(self, what: str, work: Callable[[Connection[Any]], T], cancel: Cancel) -> T:
        import psycopg

        try:
            return self._postgres.run(what, work, cancel)
        except psycopg.Error as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> OpsError:
        return OpsError(
            f"PostgreSQL at {self._target.shown} does not take items into {TABLE}",
            why=words(error),
            next="run it without --also-to-postgres, or mend the table",
        )


def _make(connection: Connection[Any], *, vectors: bool) -> None:
    """The table, with vectors that can be searched where pgvector is there and may be used."""
    import psycopg

    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('opsctl_memory', 0))")
    connection.execute(_sql("opsctl_memory.sql"))
    if vectors:
        try:
            with connection.transaction():
                connection.execute(_sql("opsctl_memory_vector.sql"))
                return
        except psycopg.errors.InsufficientPrivilege:
            pass  # only an administrator may make the extension here
    connection.execute(_sql("opsctl_memory_plain.sql"))


def _sql(name: str) -> bytes:
    path = assets.find("sql", name)
    assert path is not None, f"{name} is not shipped"
    return path.read_bytes()


def _body(item: Item) -> VectorObject:
    assert isinstance(item.body, VectorObject)
    return item.body


def _at(found: tuple[str, bytes] | None, group: str) -> bytes | None:
    if found is None:
        return None
    tenant, content = found
    return content if tenant == group else bytes(len(content))


def _little(sent: bytes, how: str) -> bytes:
    """Little-endian numbers, out of what the server sends: a short header, or one before each number, too."""
    import numpy

    if how == "vector_send":
        return numpy.frombuffer(sent, ">f4", offset=4).astype("<f4").tobytes()
    numbers = numpy.frombuffer(sent, numpy.dtype([("size", ">i4"), ("number", ">f4")]), offset=20)
    return numbers["number"].astype("<f4").tobytes()
