"""A PostgreSQL table as a sink: COPY in, conflicts by key, read back in the server's own words and compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError
from opsctl.model.migrate import Described, Item, Rejected, Removal
from opsctl.model.rows import TableShape, row_digest, to_lines
from opsctl.model.store import Target
from opsctl.stores import postgres_table as tables
from opsctl.stores.postgres_connect import PATIENCE, Postgres, put_apart, words

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")
_READ = 5_000  # rows in one read


class PostgresSink:
    """One table. The body of an item is its row as a line of COPY's text format, its id the text of the row's key.

    A table that is not there is made with the shape's types when the first batch comes. Into a table that has none
    of a batch's keys its rows are copied straight; else through a temporary table, and what is there is replaced.
    """

    def __init__(self, target: Target, shape: TableShape, *, patience: float = PATIENCE) -> None:
        self._postgres = Postgres(target, patience=patience)
        self._target = target
        self._shape = shape
        self._making = threading.Lock()
        self._ready = False
        self._straight = True  # until the first row of a run is there already

    def describe(self, cancel: Cancel) -> Described:
        """Connect. Raises ConfigError for a table that is there and does not fit."""
        version = self._postgres.version(cancel)
        live = self._check_live(cancel)
        note = "the table is there" if live else "the table is made"
        return Described(
            "PostgreSQL",
            version,
            f"{self._target.shown}/{self._shape.name}",
            f"postgres:{self._target.identity}/{self._shape.name}",
            (note, f"conflicts by {self._shape.key.name}: the row is replaced"),
        )

    def _check_live(self, cancel: Cancel) -> bool:
        """Whether the table is there. Raises ConfigError where it does not fit."""

        def look(connection: Connection[Any]) -> tuple[dict[str, str], bool]:
            live = tables.live_columns(connection, self._shape.name)
            return live, bool(live) and tables.has_unique(connection, self._shape.name, self._shape.key.name)

        live, unique = self._run("looking at the table", look, cancel)
        if live and (said := tables.unfit(self._shape, live, unique=unique)):
            raise tables.refuse(self._shape, live, said, self._target.shown)
        return bool(live)

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """Whether the server reads rows like these as they are meant. Nothing stays there."""
        import psycopg

        if not sample:
            return ()
        with_ids = {item.id: item for item in sample}

        def attempt(connection: Connection[Any]) -> list[str]:
            self._stage(connection, with_ids.values())
            found = self._found(connection, tables.selecting(tables.STAGED, self._shape.columns))
            return [name for name, item in with_ids.items() if found.get(name) != item.digest]

        try:
            other = self._postgres.run("trying rows", attempt, cancel)
        except psycopg.Error as error:
            return [f"{self._shape.name}: {words(error)}"]
        return [f"{len(other)} rows are read back in other words, like {other[0]}"] if other else ()

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """Make the table if it is not there."""
        with self._making:
            if not self._ready:
                self._run("making the table", lambda each: tables.create(each, self._shape), cancel)
                self._check_live(cancel)
                self._ready = True

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """Upsert in one transaction. Where a row is refused, the others are written and it comes back with why."""
        import psycopg

        unique = list({item.id: item for item in items}.values())
        try:
            return put_apart(unique, lambda some: self._put(some, cancel))
        except psycopg.Error as error:
            raise self._failed(error) from None

    def _put(self, items: Sequence[Item], cancel: Cancel) -> None:
        import psycopg

        if self._straight:
            into = tables.copying(self._shape.name, self._shape.columns)
            try:
                self._postgres.run("a batch", lambda each: tables.copy_in(each, into, _lines(items)), cancel)
                return
            except psycopg.errors.UniqueViolation:
                self._straight = False

        def merge(connection: Connection[Any]) -> None:
            self._stage(connection, items)
            connection.execute(tables.merging(tables.STAGED, self._shape))

        self._postgres.run("a batch", merge, cancel)

    def _stage(self, connection: Connection[Any], items: Iterable[Item]) -> None:
        """The rows in a temporary table that goes with the transaction."""
        connection.execute(tables.staging(self._shape.columns))
        tables.copy_in(connection, tables.copying(tables.STAGED, self._shape.columns), _lines(items))

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """The digest of each row as the server writes it now."""
        found: dict[str, bytes] = {}
        ids = [item.id for item in items]
        for start in range(0, len(ids), _READ):
            found |= self._digests(ids[start : start + _READ], cancel)
        return [found.get(name) for name in ids]

    def _digests(self, ids: Sequence[str], cancel: Cancel) -> dict[str, bytes]:
        import psycopg

        query = tables.selecting(self._shape.name, self._shape.columns, keys=ids)
        try:
            return self._postgres.run("reading back", lambda each: self._found(each, query), cancel)
        except psycopg.errors.UndefinedTable:
            return {}
        except psycopg.Error as error:
            raise self._failed(error) from None

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """All that are there are in the one group."""
        return dict.fromkeys(self._digests(ids, cancel), "")

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Delete rows that are still as they were written: looked at and deleted under one lock."""
        from psycopg.sql import SQL

        wanted = {name: content for name, _, content in written}
        look = tables.selecting(self._shape.name, self._shape.columns, keys=list(wanted), lock=True)
        delete = SQL("DELETE FROM {}").format(tables.name_of(self._shape.name))

        def take(connection: Connection[Any]) -> dict[str, Removal]:
            found = self._found(connection, look)
            same = [name for name, content in found.items() if content == wanted[name]]
            connection.execute(delete + tables.among(self._shape.key, same))
            changed = dict.fromkeys(found, Removal.CHANGED)
            return changed | dict.fromkeys(same, Removal.REMOVED)

        done = self._run("taking rows back", take, cancel)
        return [done.get(name, Removal.GONE) for name, _, _ in written]

    def close(self) -> None:
        """End the connections."""
        self._postgres.close()

    def _found(self, connection: Connection[Any], query: Any) -> dict[str, bytes]:
        """The digest of each row that a SELECT gives, by its key."""
        rows = tables.rows_of(connection, query)
        return dict(zip([str(row[0]) for row in rows], map(row_digest, to_lines(rows)), strict=True))

    def _run(self, what: str, work: Callable[[Connection[Any]], T], cancel: Cancel) -> T:
        import psycopg

        try:
            return self._postgres.run(what, work, cancel)
        except psycopg.Error as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> OpsError:
        return OpsError(
            f"PostgreSQL at {self._target.shown} does not take rows into {self._shape.name}",
            why=words(error),
            next="opsctl migrate redis-to-postgres … --dry-run",
        )


def _lines(items: Iterable[Item]) -> Iterable[bytes]:
    return (item.body for item in items)


def live_table(target: Target, table: str, cancel: Cancel) -> tuple[Mapping[str, str], bool]:
    """The columns of a table with their types, none where it is not there; and whether opsctl made it."""
    postgres = Postgres(target)

    def look(connection: Connection[Any]) -> tuple[Mapping[str, str], bool]:
        return tables.live_columns(connection, table), tables.is_ours(connection, table)

    try:
        return postgres.run("looking at the table", look, cancel)
    finally:
        postgres.close()
