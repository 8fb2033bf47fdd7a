"""A table as rows are copied into it: what it is, how it is made, and the statements that move rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from opsctl.model.errors import ConfigError
from opsctl.model.rows import Column, TableShape

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed, Identifier

_ALIASES = {
    "bigint": ("bigint", "integer", "smallint"),
    "numeric": ("numeric",),
    "boolean": ("boolean",),
    "timestamptz": ("timestamp with time zone",),
    "uuid": ("uuid",),
    "jsonb": ("jsonb",),
    "text": ("text", "character varying"),
}
_READ_AS_TEXT = ("bool", "int2", "int4", "int8", "jsonb", "numeric", "timestamptz", "uuid")
STAGED = "pg_temp.opsctl_rows"
_OURS = "made by opsctl"
_BLOCK = 256 * 1024  # bytes handed to COPY at once


def name_of(table: str) -> Identifier:
    """The table's name, quoted; a schema may stand before a dot."""
    from psycopg.sql import Identifier

    return Identifier(*table.split(".", 1))


def create(connection: Connection[Any], shape: TableShape) -> None:
    """Make the table if it is not there, and note on it who made it."""
    from psycopg.sql import SQL, Identifier, Literal

    columns = [
        SQL("{} {}{}").format(Identifier(each.name), SQL(each.type), SQL(" PRIMARY KEY" if each is shape.key else ""))
        for each in shape.columns
    ]
    table = name_of(shape.name)
    # Two runs that make it at once would both see none, and one would fail over the name of its type.
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"opsctl {shape.name}",))
    if not live_columns(connection, shape.name):
        connection.execute(SQL("CREATE TABLE {} ({})").format(table, SQL(", ").join(columns)))
        connection.execute(SQL("COMMENT ON TABLE {} IS {}").format(table, Literal(_OURS)))


def live_columns(connection: Connection[Any], table: str) -> dict[str, str]:
    """The columns of a table with their types as the server calls them; none where there is no such table."""
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' AND attidentity = '' ORDER BY attnum",
        (name_of(table).as_string(connection),),
    )
    return dict(rows.fetchall())


def is_ours(connection: Connection[Any], table: str) -> bool:
    """Whether opsctl made the table: then all its columns are those of the rows."""
    found = connection.execute(
        "SELECT obj_description(to_regclass(%s), 'pg_class')", (name_of(table).as_string(connection),)
    ).fetchone()
    return found is not None and found[0] == _OURS


def has_unique(connection: Connection[Any], table: str, key: str) -> bool:
    """Whether the column alone is a primary key or has a unique index that an upsert can use."""
    found = connection.execute(
        "SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
        " WHERE indrelid = to_regclass(%s) AND indisunique AND indpred IS NULL AND indnkeyatts = 1 AND attname = %s",
        (name_of(table).as_string(connection), key),
    )
    return found.fetchone() is not None


def unfit(shape: TableShape, live: dict[str, str], *, unique: bool) -> list[str]:
    """What stands against writing such rows into the table that is there."""
    said = []
    for each in shape.columns:
        there = live.get(each.name)
        if there is None:
            said.append(f"{shape.name} has no column {each.name} ({each.type})")
        elif there not in _ALIASES.get(each.type, (each.type,)):
            said.append(f"{shape.name}.{each.name} is {there}, and the rows have {each.type}")
    if not unique:
        said.append(f"{shape.name}.{shape.key.name} is not unique: conflicts by key cannot be told")
    return said


def refuse(shape: TableShape, live: dict[str, str], said: Sequence[str], where: str) -> ConfigError:
    """The error of a table that does not fit."""
    other = next((each.name for each in shape.columns if each.name in live and each.name in said[0]), "")
    known = next((kind for kind, names in _ALIASES.items() if live.get(other) in names), "")
    return ConfigError(
        f"the table {shape.name} at {where} does not fit: {said[0]}",
        why="; ".join(said[1:4]) or "rows would be lost or changed on their way",
        next=f"--column {other}={known}   (or --table another_name)" if known else "--table another_name",
    )


def copy_in(connection: Connection[Any], into: Composed, lines: Iterable[bytes]) -> None:
    """COPY lines into a table, in blocks: a call for each row takes three times as long."""
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        block: list[bytes] = []
        size = 0
        for line in lines:
            block.append(line)
            size += len(line)
            if size > _BLOCK:
                copy.write(b"\n".join(block) + b"\n")
                block, size = [], 0
        if block:
            copy.write(b"\n".join(block) + b"\n")


def rows_of(connection: Connection[Any], selecting: Composed) -> Sequence[tuple[str | None, ...]]:
    """The rows of a SELECT in the server's own words, as COPY would write them before it escapes them.

    Not by COPY itself: the client takes twice as long for its rows.
    """
    from psycopg.types.string import TextLoader

    with connection.cursor() as cursor:
        for each in _READ_AS_TEXT:
            cursor.adapters.register_loader(each, TextLoader)
        return cursor.execute(selecting).fetchall()


def array_of(texts: Sequence[str]) -> str:
    """An array as PostgreSQL reads it; the client's own way goes through it element by element."""
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(each.replace("\\", "\\\\").replace('"', '\\"') for each in texts)
    return f'{{"{joined}"}}' if texts else "{}"


def copying(table: str, columns: Sequence[Column]) -> Composed:
    """COPY … FROM STDIN."""
    from psycopg.sql import SQL

    return SQL("COPY {} ({}) FROM STDIN").format(name_of(table), column_list(columns))


def merging(source: str, shape: TableShape) -> Composed:
    """INSERT … SELECT … ON CONFLICT (key) DO UPDATE, from a table of the same columns."""
    from psycopg.sql import SQL, Identifier

    sets = SQL(", ").join(SQL("{0} = EXCLUDED.{0}").format(Identifier(each.name)) for each in shape.columns[1:])
    end = SQL("DO UPDATE SET {}").format(sets) if shape.columns[1:] else SQL("DO NOTHING")
    return SQL("INSERT INTO {} ({columns}) SELECT {columns} FROM {} ON CONFLICT ({}) {}").format(
        name_of(shape.name), name_of(source), Identifier(shape.key.name), end, columns=column_list(shape.columns)
    )


def selecting(
    table: str, columns: Sequence[Column], *, keys: Sequence[str] | None = None, lock: bool = False
) -> Composed:
    """SELECT of these columns, of all rows or of those with these keys; `lock` keeps others from the rows."""
    from psycopg.sql import SQL, Composed

    found = SQL("SELECT {} FROM {}").format(column_list(columns), name_of(table))
    where = SQL("") if keys is None else among(columns[0], keys)
    return Composed([found, where, SQL(" FOR UPDATE" if lock else "")])


def among(key: Column, keys: Sequence[str]) -> Composed:
    """WHERE the key is one of these. As a literal: with parameters a percent sign in a column's name would be one, too.

    Through a subselect, which hides from the planner how many there are: for a thousand constants it reads a table of
    some hundred thousand rows from end to end, in each batch anew, where the index needs 3 ms.
    """
    from psycopg.sql import SQL, Identifier, Literal

    return SQL(" WHERE {} = ANY(ARRAY(SELECT unnest({}::{}[])))").format(
        Identifier(key.name), Literal(array_of(keys)), SQL(key.type)
    )


def staging(columns: Sequence[Column]) -> Composed:
    """CREATE TEMPORARY TABLE that goes with the transaction."""
    from psycopg.sql import SQL, Identifier

    typed = SQL(", ").join(SQL("{} {}").format(Identifier(each.name), SQL(each.type)) for each in columns)
    return SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(name_of(STAGED), typed)


def column_list(columns: Sequence[Column]) -> Composed:
    """Their names, quoted, with commas between."""
    from psycopg.sql import SQL, Identifier

    return SQL(", ").join(Identifier(each.name) for each in columns)
