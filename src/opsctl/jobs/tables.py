"""Which table hashes fit into: types from a sample, from a person, or from the table that is there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opsctl.jobs.table_types import INFERRED, TAKEN
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.migrate import Record
from opsctl.model.table import InferredColumn, InferredTable

_EXAMPLES = 3
_MISFITS = 50  # values that are remembered as not being of a type
_LONGEST = 63  # bytes: PostgreSQL cuts longer names without a word
_MOST = 1500  # columns: PostgreSQL's own bound is 1,600
_NAMES = {  # as the server calls them → as they are written here
    "integer": "bigint",
    "smallint": "bigint",
    "timestamp with time zone": "timestamptz",
    "character varying": "text",
}
_ORDER = ("boolean", "bigint", "numeric", "uuid", "timestamptz", "jsonb")


@dataclass(frozen=True)
class Wanted:
    """What a person chose. `id_from` is the field whose value tells rows apart; "" is the record's own key, which
    then goes into the column `key`."""

    table: str
    key: str = "key"
    id_from: str = ""
    types: Mapping[str, str] = field(default_factory=dict)  # column → type


@dataclass
class _Seen:
    """One field over the sample."""

    filled: int = 0
    empty: int = 0
    examples: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)  # what the chosen or existing type does not take
    others: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in _ORDER})  # what is not of a type

    @property
    def inferred(self) -> str:
        """The first type that has all values."""
        fitting = (kind for kind in _ORDER if not self.others[kind])
        return next(fitting, "text") if self.filled > self.empty else "text"

    @property
    def almost(self) -> str:
        """A narrower type that has nearly all values, and those it has not; "" without one."""
        few = max(1, (self.filled - self.empty) // 20)
        for kind in _ORDER:
            if 0 < len(self.others[kind]) <= few < self.filled - self.empty:
                return f"{kind} but for {', '.join(self.others[kind][:_EXAMPLES])}"
        return ""


def infer(
    records: Iterable[Record], wanted: Wanted, live: Mapping[str, str] | None = None, *, ours: bool = False
) -> InferredTable:
    """The table for records like these. `live` are the columns of the table that is there, `ours` if opsctl made it.

    Raises UsageError for a type that is none, ConfigError where there is nothing to infer from, or a field without a
    column.
    """
    _check(wanted)
    live = {name: _NAMES.get(kind, kind) for name, kind in (live or {}).items()}
    seen: dict[str, _Seen] = {}
    count = 0
    for record in records:
        if record.kind != "hash" or record.fault:
            continue
        count += 1
        _look(record.value, seen, wanted, live)
    if wanted.id_from:
        seen.setdefault(wanted.id_from, _Seen())
    names = _names(seen, wanted, live if ours else {})
    if not names and not live:
        raise ConfigError(
            "there is no hash to infer a table from",
            why="no key that matches holds a hash",
            next="--match 'job:*'   (the pattern of the keys)",
            code="no-sample",
        )
    _check_names(names, wanted, live)
    columns = [_key(wanted, seen, live)]
    columns += [_column(name, seen.get(name, _Seen()), wanted, live) for name in names if name != wanted.id_from]
    return InferredTable(wanted.table, tuple(columns), count, bool(live))


def _check(wanted: Wanted) -> None:
    parts = wanted.table.split(".")
    if len(parts) > 2 or not all(0 < len(each.encode()) <= _LONGEST and "\0" not in each for each in parts):
        raise UsageError(
            f"--table {wanted.table!r} is no name of a table",
            why=f"a name has 1 to {_LONGEST} bytes, and a schema may stand before one dot",
            next="--table jobs",
        )
    for name, kind in wanted.types.items():
        if kind not in TAKEN:
            raise UsageError(
                f"--column {name}={kind}: {kind} is none of the types that can be read back and compared",
                why=f"known are {', '.join(TAKEN)}",
                next=f"--column {name}=text",
            )


def _look(fields: Mapping[bytes, bytes], seen: dict[str, _Seen], wanted: Wanted, live: Mapping[str, str]) -> None:
    for raw, value in fields.items():
        name, text = raw.decode(errors="backslashreplace"), value.decode(errors="backslashreplace")
        here = seen.setdefault(name, _Seen())
        here.filled += 1
        if not text:
            here.empty += 1
            continue
        if len(here.examples) < _EXAMPLES and (shown := _short(text)) not in here.examples:
            here.examples.append(shown)
        for kind, others in here.others.items():
            if len(others) <= _MISFITS and not _fits(INFERRED[kind], text):
                others.append(_short(text))
        kind = wanted.types.get(name) or live.get(name, "")
        if kind in TAKEN and not _fits(TAKEN[kind], text) and len(here.unfit) < _EXAMPLES:
            here.unfit.append(_short(text))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 24 else f"{line[:23]}…"


def _fits(canonical: object, text: str) -> bool:
    try:
        canonical(text)  # type: ignore[operator]
    except ValueError:
        return False
    return True


def _names(seen: Mapping[str, _Seen], wanted: Wanted, ours: Mapping[str, str]) -> list[str]:
    """The fields that get a column: those of a table that opsctl made, else those of the sample and of the options."""
    key = wanted.id_from or wanted.key
    if ours:
        return [name for name in dict.fromkeys([*ours, *wanted.types]) if name != key]
    every = dict.fromkeys([*seen, *wanted.types])
    return [name for name in every if name != key or name in seen]


def _check_names(names: Sequence[str], wanted: Wanted, live: Mapping[str, str]) -> None:
    if not wanted.id_from and wanted.key in names:
        raise UsageError(
            f"the hashes have a field {wanted.key}, and the keys would go into a column of that name",
            next=f"--key {wanted.key}_of_redis, or --id-from {wanted.key}",
        )
    for name in (wanted.key, *names):
        if not name or "\0" in name or len(name.encode()) > _LONGEST:
            raise ConfigError(
                f"the field {name[:80]!r} cannot be the name of a column",
                why=f"a name has 1 to {_LONGEST} bytes",
                next="--match   (leave those keys out)",
            )
    if len(names) > _MOST:
        raise ConfigError(
            f"the sample has {len(names)} different fields",
            why="these look like keys of a mapping, not like columns of a table",
            next="--match   (a pattern of rows that are alike)",
        )
    missing = [name for name in names if live and name not in live]
    if missing:
        raise ConfigError(
            f"the table {wanted.table} is there and has no column for {', '.join(missing[:5])}",
            why="what those fields hold would be lost",
            next=f'ALTER TABLE {wanted.table} ADD COLUMN "{missing[0]}" text;   (or --table another_name)',
        )


def _key(wanted: Wanted, seen: Mapping[str, _Seen], live: Mapping[str, str]) -> InferredColumn:
    if wanted.id_from:
        found = _column(wanted.id_from, seen[wanted.id_from], wanted, live)
        if found.type == "jsonb":
            raise UsageError(f"--id-from {wanted.id_from}: JSON tells no rows apart", next="--id-from another_field")
        return found
    if live and wanted.key not in live:
        raise ConfigError(
            f"the table {wanted.table} is there and has no column {wanted.key} for the keys",
            why=f"it has {', '.join(live)}",
            next=f"--key {next(iter(live))}, or --id-from FIELD",
        )
    return InferredColumn(wanted.key, "", "text", "the key of the record")


def _column(name: str, seen: _Seen, wanted: Wanted, live: Mapping[str, str]) -> InferredColumn:
    if name in wanted.types:
        kind, origin = wanted.types[name], "chosen"
    elif name in live:
        kind, origin = live[name], "the table"
    else:
        kind, origin = seen.inferred, "the values"
    if kind not in TAKEN:
        raise ConfigError(
            f"{wanted.table}.{name} is {kind}, which cannot be read back and compared",
            why=f"known are {', '.join(TAKEN)}",
            next="--table another_name",
        )
    notes = [seen.almost] if origin == "the values" and kind == "text" and seen.almost else []
    if seen.empty and kind != "text":
        notes.append("an empty text becomes NULL")
    if kind == "timestamptz" and any(not each.upper().endswith("Z") and "+" not in each for each in seen.examples):
        notes.append("a time without a zone is read as UTC")
    return InferredColumn(
        name, name, kind, origin, seen.filled, seen.empty, tuple(seen.examples), tuple(seen.unfit), "; ".join(notes)
    )
