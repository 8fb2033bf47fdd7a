"""The transform of redis-to-postgres: a hash becomes one row, in the words in which PostgreSQL will write it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opsctl.jobs.table_bulk import BULK
from opsctl.jobs.table_types import TAKEN
from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Item, Record, Rejected
from opsctl.model.rows import NULL, escape, row_digest, unescape
from opsctl.model.table import InferredColumn, InferredTable

_NULL = NULL.encode()


class Unfit(ValueError):
    """A record that fits no row. `code` is short and constant."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class TableRows:
    """Hashes as rows of one table. What does not fit goes to quarantine with the field and the value's beginning."""

    workers = 1  # Python's own work: more threads are no faster

    def __init__(self, table: InferredTable) -> None:
        self._table = table
        key, *others = table.columns
        self._key_field = key.field.encode()
        self._key = TAKEN[key.type]
        self._columns = others
        self._places = {each.field.encode(): (place, _reader(each.type)) for place, each in enumerate(others, start=1)}
        self._fields = frozenset(self._places) | ({self._key_field} if self._key_field else frozenset())
        self._reads = (key.type, *(each.type for each in others))

    @property
    def chooses_ids(self) -> bool:
        """As `ChoosesIds`: with the key in a field."""
        return bool(self._key_field)

    def describe(self) -> Mapping[str, Any]:
        """Table and types."""
        first, *_ = self._table.columns
        return {
            "table": self._table.name,
            "key": f"{first.name}: {'the key of the record' if not first.field else first.field}",
            "columns": {each.name: said(each, self._table.sampled) for each in self._table.columns},
            "sampled": self._table.sampled,
        }

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        """One row or rejection a record, in order: column by column, and what is not plain by itself."""
        plain = self._together(records)
        return [plain.get(number) or self._row(record) for number, record in enumerate(records)]

    outline = apply

    def close(self) -> None:
        """Nothing to free."""

    def _together(self, records: Sequence[Record]) -> dict[int, Item]:
        """The rows of records that fit, by their numbers; the others are for `_row`, which says why they do not."""
        fields = self._fields
        chosen = [
            number
            for number, record in enumerate(records)
            if record.kind == "hash" and not record.fault and record.value.keys() <= fields
        ]
        rows = [records[number] for number in chosen]
        values: list[Mapping[bytes, bytes]] = [record.value for record in rows]
        keys = [each.get(self._key_field) for each in values] if self._key_field else [record.key for record in rows]
        unfit = {at for at, key in enumerate(keys) if not key}
        columns = [_cells(self._reads[0], keys, unfit)]
        for field, kind in zip(self._places, self._reads[1:], strict=True):
            columns.append(_cells(kind, [each.get(field) for each in values], unfit))
        names = _names(columns[0])
        lines = list(map(b"\t".join, zip(*columns, strict=True)))
        items = list(map(Item, [record.key for record in rows], names, lines, map(row_digest, lines), map(len, lines)))
        return {number: item for at, (number, item) in enumerate(zip(chosen, items, strict=True)) if at not in unfit}

    def _row(self, record: Record) -> Item | Rejected:
        try:
            if record.fault:
                raise Unfit(record.fault, record.fault_code)
            if record.kind != "hash":
                raise Unfit(f"a {record.kind or 'thing'}; rows are made of hashes", "wrong-type")
            name, cells = self._cells(record)
        except Unfit as error:
            return Rejected(record.key, str(error), error.code)
        line = "\t".join(cells).encode()
        return Item(record.key, name, line, row_digest(line), len(line))

    def _cells(self, record: Record) -> tuple[str, list[str]]:
        fields: Mapping[bytes, bytes] = record.value
        cells = [NULL] * (1 + len(self._columns))
        places, key_field = self._places, self._key_field
        for field, value in fields.items():
            found = places.get(field)
            if found is None:
                if field != key_field or not field:
                    raise Unfit(f"the field {_shown(field)} has no column", "new-field")
                continue
            place, reader = found
            try:
                cells[place] = reader(value)
            except ValueError as error:
                kind = self._columns[place - 1].type
                raise Unfit(f"{_shown(field)}: {_shown(value)} is {_why(error, kind)}", "unfit") from None
        name = self._name(fields.get(key_field) if key_field else record.key)
        cells[0] = escape(name)
        return name, cells

    def _name(self, key: bytes | None) -> str:
        what = _shown(self._key_field) if self._key_field else "the key"
        if not key:
            raise Unfit(f"no {what} to tell the row by", "no-id")
        try:
            return self._key(key.decode())
        except ValueError as error:
            raise Unfit(f"{what}: {_why(error, self._table.columns[0].type)}", "unfit") from None


def _cells(kind: str, values: Sequence[bytes | None], unfit: set[int]) -> Sequence[bytes]:
    """A column's cells; where a value does not fit, its number is added to `unfit`."""
    given = [each for each in values if each] if kind != "text" else [each for each in values if each is not None]
    bulk = BULK.get(kind)
    plain = bulk(given) if bulk is not None else None
    if plain is not None and len(given) == len(values):
        return plain
    if plain is not None:
        left = iter(plain)
        return [next(left) if each or (each is not None and kind == "text") else _NULL for each in values]
    cells, reader = [], _reader(kind)
    for at, each in enumerate(values):
        try:
            cells.append(_NULL if each is None else reader(each).encode())
        except ValueError:
            cells.append(_NULL)
            unfit.add(at)
    return cells


def _names(cells: Sequence[bytes]) -> list[str]:
    """The keys that these cells hold."""
    joined = b"\n".join(cells).decode()
    if "\\" in joined:
        return [unescape(each.decode()) or "" for each in cells]
    return joined.split("\n")


def said(column: InferredColumn, sampled: int) -> str:
    """A column in a line: its type, what decided, what it looks like, what would not fit."""
    parts = [column.type if column.origin == "the values" else f"{column.type} ({column.origin})"]
    if column.field and sampled and column.filled < sampled:
        parts.append(f"in {column.filled} of {sampled}")
    if column.examples:
        parts.append(f"like {', '.join(column.examples)}")
    if column.unfit:
        parts.append(f"does not take {', '.join(column.unfit)}")
    return "; ".join([*parts, column.note] if column.note else parts)


def _reader(kind: str) -> Callable[[bytes], str]:
    """What makes a cell out of a value. Raises ValueError with what the value is."""
    canonical = TAKEN[kind]
    if kind == "text":
        return lambda value: escape(canonical(value.decode()))
    if kind == "jsonb":
        return lambda value: escape(canonical(value.decode())) if value else NULL
    return lambda value: canonical(value.decode()) if value else NULL  # what they write has nothing to escape


def _why(error: ValueError, kind: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "no UTF-8"
    return f"{error} ({kind})"


def _shown(raw: bytes) -> str:
    text = raw.decode(errors="backslashreplace")
    return text if len(text) <= 60 else f"{text[:59]}…"
