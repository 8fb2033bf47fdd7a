"""Values by the thousand give what each of them gives alone, or none of them does."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from opsctl.jobs.table_bulk import BULK
from opsctl.jobs.table_rows import TableRows
from opsctl.jobs.table_types import TAKEN
from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Item, Record, Rejected
from opsctl.model.rows import NULL, escape, from_line, row_digest
from opsctl.model.table import InferredColumn, InferredTable

PLAIN = {
    "bigint": ["0", "7", "-7", "123456789012345678"],
    "numeric": ["0", "0.00", "10.50", "-3", "-12.0", "9" * 300],
    "boolean": ["true", "false", "1", "0", "t", "f"],
    "timestamptz": [
        *("2026-11-20T10:00:00Z", "2026-11-20 10:00:00+00", "2026-01-31T23:59:59.5Z", "2026-04-30T00:00:00+00:00"),
        *(
            "2026-02-28T00:00:00.123456Z",
            "2026-02-28T00:00:00.120Z",
            "0001-01-01T00:00:00.000Z",
            "9999-12-31T10:20:30Z",
        ),
    ],
    "uuid": ["0f8fad5b-d9cb-469f-a165-70867728950e"],
    "text": ["", "a", "ünï 漢字 🙂", "{}", "NULL", "T", "Z", " "],
}
ODD = [
    *("007", "+1", "-0", "-0.5", "1e5", "1.", ".5", "9223372036854775807", "9223372036854775808", "1\n2", "1\n", "\n"),
    *("TRUE", "yes", " on ", "maybe", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2026-04-31T00:00:00Z"),
    *("0000-01-01T00:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T10:00:60Z", "2026-11-20T10:00:00+02:00"),
    *("2026-11-20T10:00Z", "2026-11-20T10:00:00", "2026-11-20T10:00:00.1234567Z", "2026-11-20", "2026-13-01T00:00:00Z"),
    *("0F8FAD5B-D9CB-469F-A165-70867728950E", "0f8fad5b", "a\tb", "a\\b", "\\N", "\\.", "a\rb", "a\x00b", "\b\f\v"),
    *('{"b": 1, "a": [2.50]}', "[", "x" * 5000, "9" * 1001),
]
EVERY = [each.encode() for each in [*itertools.chain(*PLAIN.values()), *ODD]] + [b"\xff", b"\xc3"]


def alone(kind: str, value: bytes) -> str | None:
    """The cell of one value by the functions for one; None where it does not fit."""
    if not value and kind != "text":
        return NULL
    try:
        return escape(TAKEN[kind](value.decode()))
    except ValueError:
        return None


@pytest.mark.parametrize("kind", list(BULK))
def test_each_value_alone_is_as_its_type_takes_it_or_left_to_it(kind: str) -> None:
    for value in filter(None, EVERY):
        found = BULK[kind]([value])
        assert found is None or [each.decode() for each in found] == [alone(kind, value)], value


@pytest.mark.parametrize("kind", list(BULK))
def test_the_common_shapes_are_taken_together_and_none_with_an_odd_one(kind: str) -> None:
    plain = [each.encode() for each in PLAIN[kind]] * 400
    found = BULK[kind](plain)
    assert found is not None
    assert [each.decode() for each in found] == [alone(kind, each) for each in plain]
    for value in EVERY:
        if BULK[kind]([value]) is None:
            assert BULK[kind]([*plain, value]) is None
            assert BULK[kind]([value, *plain]) is None


def rows(table: InferredTable, values: Sequence[dict[bytes, bytes]]) -> Sequence[Item | Rejected]:
    records = [Record(b"job:%d" % number, each, b"d" * 16, 9, "hash") for number, each in enumerate(values)]
    return TableRows(table).apply(records, {}, Cancel())


@pytest.mark.parametrize("kind", list(TAKEN))
@pytest.mark.parametrize("odd", [0.0, 0.02, 0.5])
def test_rows_of_any_mixture_are_those_of_each_record_alone(kind: str, odd: float) -> None:
    luck = random.Random(5)
    table = InferredTable(
        "t",
        (
            InferredColumn("key", "", "text", "the key"),
            InferredColumn("x", "x", kind, "the values"),
            InferredColumn("note", "note", "text", "the values"),
        ),
        0,
        False,
    )
    plain = [each.encode() for each in PLAIN.get(kind, ["{}"])]
    given = []
    for _ in range(300):
        fields = {b"x": luck.choice(EVERY) if luck.random() < odd else luck.choice(plain)}
        if luck.random() < 0.5:
            fields[b"note"] = b"tab\there" if luck.random() < odd else b"note"
        if luck.random() < odd:
            fields.pop(b"x")
        given.append(fields)
    for number, (fields, found) in enumerate(zip(given, rows(table, given), strict=True)):
        cell = alone(kind, fields[b"x"]) if b"x" in fields else NULL
        if cell is None:
            assert isinstance(found, Rejected)
            assert (found.key, found.code) == (b"job:%d" % number, "unfit")
            continue
        assert isinstance(found, Item)
        note = escape(fields[b"note"].decode()) if b"note" in fields else NULL
        assert found.body.decode() == f"job:{number}\t{cell}\t{note}"
        assert (found.key, found.id) == (b"job:%d" % number, f"job:{number}")
        assert (found.digest, found.size) == (row_digest(found.body), len(found.body))


def test_ids_of_a_field_that_need_escaping_stay_what_they_are() -> None:
    table = InferredTable("t", (InferredColumn("name", "name", "text", "chosen"),), 0, False)
    names = ["plain", "a\tb\nc\\d", "\\N", "ü", ""]
    found = rows(table, [{b"name": each.encode()} for each in names])
    assert [each.id for each in found if isinstance(each, Item)] == names[:-1]
    assert [from_line(each.body) for each in found if isinstance(each, Item)] == [[each] for each in names[:-1]]
    assert [each.code for each in found if isinstance(each, Rejected)] == ["no-id"]
