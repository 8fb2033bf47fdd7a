"""Types inferred from hashes, and rows in the words of PostgreSQL. Pure; the server's own word is in tests/stores."""

from __future__ import annotations

import pytest

from opsctl.jobs.table_rows import TableRows
from opsctl.jobs.table_types import INFERRED, TAKEN
from opsctl.jobs.tables import Wanted, infer
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.migrate import Item, Record, Rejected
from opsctl.model.rows import from_line, to_line, to_lines


def row(key: str, /, **fields: str | bytes) -> Record:
    value = {name.encode(): each if isinstance(each, bytes) else each.encode() for name, each in fields.items()}
    return Record(key.encode(), value, b"d" * 16, 10, "hash")


def inferred(*values: str) -> str:
    table = infer([row(f"k{number}", x=each) for number, each in enumerate(values)], Wanted("t"))
    return table.columns[1].type


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-20", "0"], "bigint"),
        (["1", ""], "bigint"),
        (["007", "12"], "text"),
        (["+1"], "text"),
        (["-0"], "text"),
        (["9223372036854775807"], "bigint"),
        (["9223372036854775808", "1"], "numeric"),
        (["1", "2.50", "1e-7"], "numeric"),
        (["nan"], "text"),
        (["true", "False"], "boolean"),
        (["true", "1"], "text"),
        (["0", "1"], "bigint"),
        (["2026-01-01T10:00:00Z", "2026-01-01 10:00:00.5+02:00"], "timestamptz"),
        (["2026-01-01"], "text"),
        (["0001-01-01T00:00:00+05:00"], "text"),
        (["2026-02-30T00:00:00Z"], "text"),
        (["2026-01-01 10:00 UTC", "2026-01-01 10:00:00 +02:00", "2026-01-01 10:00:00 -0530"], "timestamptz"),
        (["2026-01-01T10:00:00.123456789Z"], "text"),
        (["9b2e0d3c-1c54-4f0a-8f55-0a8f6f1f8a10"], "uuid"),
        (["9b2e0d3c1c544f0a8f550a8f6f1f8a10"], "text"),
        (['{"a": 1}', "[]"], "jsonb"),
        (['"text"'], "text"),
        (['{"a": "\\u0000"}'], "text"),
        (["", ""], "text"),
        (["²", "٣"], "text"),
    ],
)
def test_a_type_is_the_narrowest_that_loses_nothing(values: list[str], kind: str) -> None:
    assert inferred(*values) == kind


def test_what_keeps_a_column_from_being_narrower_is_said() -> None:
    table = infer([row(f"k{number}", x=str(number)) for number in range(99)] + [row("odd", x="7x")], Wanted("t"))
    assert (table.columns[1].type, table.columns[1].note) == ("text", "bigint but for 7x")


def test_a_chosen_type_wins_and_says_what_it_does_not_take() -> None:
    table = infer([row("a", x="1"), row("b", x="no number")], Wanted("t", types={"x": "numeric"}))
    assert (table.columns[1].type, table.columns[1].unfit) == ("numeric", ("no number",))


@pytest.mark.parametrize(
    ("records", "wanted", "live", "error", "match"),
    [
        ([], Wanted("t"), None, ConfigError, "no hash to infer"),
        ([row("a", key="1")], Wanted("t"), None, UsageError, "have a field key"),
        ([row("a", x="1")], Wanted("t", types={"x": "money"}), None, UsageError, "money is none of the types"),
        ([row("a", **{"x" * 64: "1"})], Wanted("t"), None, ConfigError, "cannot be the name"),
        ([row("a", x="1", y="2")], Wanted("t"), {"key": "text", "x": "bigint"}, ConfigError, "no column for y"),
        ([row("a", x="1")], Wanted("t"), {"x": "bigint"}, ConfigError, "no column key"),
        ([row("a", x="1")], Wanted("t"), {"key": "text", "x": "money"}, ConfigError, "x is money"),
        ([row("a", x="1")], Wanted(""), None, UsageError, "no name of a table"),
        ([row("a", x="1")], Wanted("a.b.c"), None, UsageError, "no name of a table"),
        ([row("a", x="{}")], Wanted("t", id_from="x"), None, UsageError, "JSON tells no rows apart"),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_what_to_type(
    records: list[Record], wanted: Wanted, live: dict[str, str] | None, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        infer(records, wanted, live)
    assert caught.value.info.next  # type: ignore[attr-defined]


def test_the_table_that_is_there_decides() -> None:
    live = {"key": "text", "x": "timestamp with time zone", "more": "integer"}
    assert [each.type for each in infer([row("a", x="7")], Wanted("t"), live).columns] == ["text", "timestamptz"]
    ours = infer([], Wanted("t"), live, ours=True)
    assert [each.name for each in ours.columns] == ["key", "x", "more"]


def applied(table: list[Record], record: Record, **wanted: object) -> Item | Rejected:
    found = TableRows(infer(table, Wanted("t", **wanted)))  # type: ignore[arg-type]
    return found.apply([record], {}, Cancel())[0]


def test_a_row_has_its_key_first_and_null_where_a_field_is_missing() -> None:
    item = applied([row("a", x="1", y="z", w="true")], row("job:1", x="5", y="tab\there"))
    assert isinstance(item, Item)
    assert (item.id, from_line(item.body)) == ("job:1", ["job:1", "5", "tab\there", None])


@pytest.mark.parametrize(
    ("record", "code", "reason"),
    [
        (row("b", x="five"), "unfit", "x: five is no whole number"),
        (row("b", x="1", new="2"), "new-field", "the field new has no column"),
        (row("b", y=b"\xff"), "unfit", r"y: \xff is no UTF-8"),
        (row("b", y="a\0b"), "unfit", "NUL"),
        (Record(b"b", b"text", b"d" * 16, 4, "string"), "wrong-type", "a string; rows are made of hashes"),
        (Record(b"b", None, b"d" * 16, 4, "hash", fault="too large", fault_code="too-large"), "too-large", "too large"),
        (Record(b"\xff", {b"x": b"1"}, b"d" * 16, 4, "hash"), "unfit", "the key: no UTF-8"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected_with_why(record: Record, code: str, reason: str) -> None:
    found = applied([row("a", x="1", y="z")], record)
    assert isinstance(found, Rejected)
    assert found.code == code
    assert reason in found.reason


def test_an_id_of_a_field_is_the_row_s_id_and_must_be_there() -> None:
    sample = [row("a", id="1", x="y")]
    item = applied(sample, row("job:9", id="12", x="z"), id_from="id")
    assert isinstance(item, Item)
    assert (item.id, from_line(item.body)) == ("12", ["12", "z"])
    lost = applied(sample, row("job:9", x="z"), id_from="id")
    assert isinstance(lost, Rejected)
    assert lost.code == "no-id"


@pytest.mark.parametrize(
    "values", [["a", None, ""], ["\\N", "\\", "\t\n\r\b\f\v"], ["ünï 漢", "\x7f\x01", "a\\tb"], [None], [""]]
)
def test_a_line_of_copy_and_back(values: list[str | None]) -> None:
    line = to_line(values)
    assert b"\n" not in line
    assert from_line(line) == values


def test_many_lines_are_those_of_each_row() -> None:
    words = ["", "a", "a\tb", "a\nb", "\\N", "\\", "ü", "\r", "\x01\x7f", "\u2028", "\x85", None]
    for one in words:
        rows = [("k", "v"), ("k", one), ("l", "w")]
        assert to_lines(rows) == [to_line(row) for row in rows]
    assert to_lines([]) == []
    assert to_lines([("a",), ("",)]) == [b"a", b""]


def test_every_inferred_type_can_be_chosen() -> None:
    assert set(INFERRED) == set(TAKEN)
