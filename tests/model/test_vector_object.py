"""When two objects of a vector store are the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from opsctl.model.vector_object import VectorObject, canonical, same_date, utc_text


def test_equal_whatever_the_order_and_the_vectors_that_do_not_count() -> None:
    one = VectorObject({"a": "x", "b": [1, 2]}, {"minilm": b"1234", "other": b"5"})
    two = VectorObject({"b": (1, 2), "a": "x"}, {"minilm": b"1234"})
    assert one.digest(["minilm"]) == two.digest(["minilm"])
    assert one.digest(["minilm", "other"]) != two.digest(["minilm", "other"])


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (VectorObject({"a": "1"}), VectorObject({"a": 1})),
        (VectorObject({"a": 1}), VectorObject({"a": 1.0})),
        (VectorObject({"a": True}), VectorObject({"a": 1})),
        (VectorObject({}, {"v": b"12"}), VectorObject({}, {"v": b"13"})),
        (VectorObject({}, {"v": b"12"}), VectorObject({}, {})),
        (VectorObject({"a": ""}), VectorObject({})),
    ],
)
def test_what_differs_has_another_digest(one: VectorObject, two: VectorObject) -> None:
    assert one.digest(["v"]) != two.digest(["v"])


@pytest.mark.parametrize("value", ["\ud800", float("nan")])
def test_what_no_server_can_keep_is_refused(value: str | float) -> None:
    with pytest.raises(ValueError, match=""):
        canonical({"a": value})


def test_a_date_has_one_form() -> None:
    moment = datetime(2026, 11, 27, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(moment) == "2026-11-26T23:30:00Z"
    assert utc_text(datetime(2026, 11, 27, 1, 30, 0, 120_000, tzinfo=UTC)) == "2026-11-27T01:30:00.12Z"
    assert same_date("2026-11-27T01:30:00+02:00") == "2026-11-26T23:30:00Z"
    assert same_date("2026-11-26T23:30:00.123456789Z") == "2026-11-26T23:30:00.123456Z"
    assert same_date("0987-01-02T03:04:05Z") == "0987-01-02T03:04:05Z"


@pytest.mark.parametrize("text", ["", 'a"b\\c', "\x00\x1f\x7f\u2028", "ü€😀", "</script>"])
def test_its_one_text_is_json_whether_all_values_are_texts_or_not(text: str) -> None:
    texts = {"b": text, "a": text, 'c"': "x"}
    for properties in (texts, {**texts, "n": 1}):
        wanted = json.dumps(properties, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert canonical(properties) == wanted.encode()
