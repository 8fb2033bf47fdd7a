"""A row on its way into a table: one line of COPY's text format, in exactly the words that the server writes back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from opsctl.model.migrate import digest

_SPECIAL = re.compile(r"[\\\t\n\r\b\f\v]")
_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
_RARE = re.compile(r"[\\\r\b\f\v]")  # of those, what no line is made of
_READ = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}
NULL = "\\N"
_EMPTY_END = b"\t\\N"


@dataclass(frozen=True)
class Column:
    """One column. `type` as SQL writes it: bigint, numeric, boolean, timestamptz, uuid, jsonb, text."""

    name: str
    type: str


@dataclass(frozen=True)
class TableShape:
    """A table that rows go into. `name` may have a schema before a dot; the first column tells rows apart."""

    name: str
    columns: tuple[Column, ...]

    @property
    def key(self) -> Column:
        """The column that tells rows apart."""
        return self.columns[0]


def row_digest(line: bytes) -> bytes:
    """The digest of a row. NULLs at its end do not count: a column that is added later changes no row."""
    end = len(line)
    while line.endswith(_EMPTY_END, 0, end):
        end -= len(_EMPTY_END)
    return digest(line[:end])


def escape(text: str) -> str:
    """A value as COPY's text format writes it."""
    return _SPECIAL.sub(lambda found: _ESCAPED[found.group()], text) if _SPECIAL.search(text) else text


def unescape(text: str) -> str | None:
    """A value out of COPY's text format; None for a NULL."""
    if text == NULL:
        return None
    return _READ.sub(lambda found: _UNESCAPED.get(found[1], found[1]), text) if "\\" in text else text


def to_line(values: Sequence[str | None]) -> bytes:
    """One row as a line, without its end."""
    return "\t".join(NULL if each is None else escape(each) for each in values).encode()


def to_lines(rows: Sequence[Sequence[str | None]]) -> list[bytes]:
    """`to_line` of each: all in one go where there is nothing to escape and no NULL."""
    try:
        joined = "\n".join(["\t".join(row) for row in rows])  # type: ignore[arg-type]
    except TypeError:  # a NULL
        return [to_line(row) for row in rows]
    if rows and not _RARE.search(joined):
        lines = joined.encode().split(b"\n")
        if len(lines) == len(rows) and joined.count("\t") == len(rows) * (len(rows[0]) - 1):
            return lines
    return [to_line(row) for row in rows]


def from_line(line: bytes) -> list[str | None]:
    """The values of a line."""
    return [unescape(each) for each in line.decode().split("\t")]
