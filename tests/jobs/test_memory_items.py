"""Memory items: every way they are written, and what is done with those that are none."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from opsctl.jobs.memory_fields import Unfit, fields_of
from opsctl.jobs.memory_items import Choices, MemoryItems, Shape
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.migrate import Item, Record, Rejected, digest
from opsctl.model.vector_object import VectorObject

SESSION = Shape(
    "Session",
    {
        "text": "text",
        "threadId": "text",
        "speaker": "text",
        "domain": "text",
        "timestamp": "date",
        "expiresAt": "date",
        "key": "text",
        "extra": "text",
    },
    by_day=True,
)
NOW = 1_795_860_000.0  # 2026-11-28T10:00:00Z
SERVER = Choices(vector="", vectors="server")
PRECOMPUTED = Choices(vectors="precomputed")


class Embedder:
    """Counts letters: a model small enough for a test."""

    name, width = "letters", 2

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str], cancel: Cancel) -> Sequence[bytes]:
        self.texts += texts
        return [struct.pack("<2f", len(text), text.count("a")) for text in texts]

    def describe(self) -> Mapping[str, Any]:
        return {"model": self.name, "width": self.width}

    def close(self) -> None:
        self.texts.clear()


def record(value: Any, key: bytes = b"memory:1", kind: str = "string", ttl: float | None = None) -> Record:
    text = kind == "string" and not isinstance(value, bytes)
    return Record(key, json.dumps(value).encode() if text else value, digest(key), 10, kind, ttl)


def apply(*records: Record, choices: Choices = SERVER, days: Mapping[bytes, str] | None = None) -> list[Any]:
    made = MemoryItems(lambda: SESSION, choices, now=lambda: NOW).apply(records, days or {}, Cancel())
    return list(made)


def body(item: Item | Rejected) -> VectorObject:
    assert isinstance(item, Item), item
    assert isinstance(item.body, VectorObject)
    return item.body


def test_an_item_keeps_all_it_has() -> None:
    given = {
        "content": "hello",
        "role": "user",
        "timestamp": "2026-11-27T10:00:00Z",
        "id": "7",
        "score": 0.5,
        "n": None,
    }
    (item,) = apply(record(given))
    properties = dict(body(item).properties)
    assert json.loads(str(properties.pop("extra"))) == {"id": "7", "score": 0.5, "n": None}
    assert properties == {
        "text": "hello",
        "speaker": "user",
        "timestamp": "2026-11-27T10:00:00Z",
        "key": "memory:1",
    }
    assert (item.group, item.undated) == ("20261127", False)
    assert item.id == str(uuid.uuid5(uuid.NAMESPACE_DNS, "memory:1"))
    assert item.digest == body(item).digest(())


def test_a_field_that_changes_its_form_is_kept_as_it_was_too() -> None:
    (item,) = apply(record({"text": "x", "thread_id": 12, "ts": 1_795_773_600_000}))
    assert body(item).properties["threadId"] == "12"
    assert body(item).properties["timestamp"] == "2026-11-27T10:00:00Z"
    assert json.loads(str(body(item).properties["extra"])) == {"thread_id": 12, "ts": 1_795_773_600_000}


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2026-11-27T23:30:00-02:00", "20261128"),
        ("2026-11-27T00:30:00.123456789+02:00", "20261126"),
        ("2026-11-27 23:59:59", "20261127"),
        ("2026-11-27", "20261127"),
        (1_795_773_600, "20261127"),
        (1_795_773_600.25, "20261127"),
        ("1795773600", "20261127"),
        (1_795_773_600_000, "20261127"),
        (1_795_773_600_000_000, "20261127"),
        ("Fri, 27 Nov 2026 10:00:00 GMT", "20261127"),
    ],
)
def test_the_tenant_is_the_items_own_day_in_utc(written: object, day: str) -> None:
    (item,) = apply(record({"text": "x", "timestamp": written}), days={b"memory:1": "20200101"})
    assert (item.group, item.undated) == (day, False)


def test_without_a_day_of_its_own_it_is_the_first_sights_and_the_digest_does_not_know_it() -> None:
    (one,) = apply(record({"text": "x"}), days={b"memory:1": "20261120"})
    (two,) = apply(record({"text": "x"}), days={b"memory:1": "20261121"})
    assert (one.group, one.undated, two.group) == ("20261120", True, "20261121")
    assert one.digest == two.digest


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (record(b"hello"), "unparsable"),
        (record(b"[1, 2]"), "unparsable"),
        (record(b'"text"'), "unparsable"),
        (record(b"\xff\xfe\x00"), "unparsable"),
        (record(b'{"text": NaN}'), "unparsable"),
        (record(b"[" * 200_000), "unparsable"),
        (record(b'{"a":' * 100_000), "unparsable"),
        (record(b'{"text": ' + b"9" * 5000 + b"}"), "unparsable"),
        (record({"text": ""}), "no-text"),
        (record({"other": "x"}), "no-text"),
        (record({"text": "x", "timestamp": "soon"}), "date"),
        (record({"text": "x", "timestamp": 5}), "date"),
        (record(b'{"text": "\\ud800"}'), "unicode"),
        (record({}, kind="list"), "wrong-type"),
        (Record(b"k", b"", b"", 0, "string", fault="12 MB", fault_code="too-large"), "too-large"),
    ],
)
def test_what_is_no_memory_item_is_rejected_with_a_code(given: Record, code: str) -> None:
    (rejected,) = apply(given)
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.key) == (code, given.key)
    assert rejected.reason


def test_a_hash_is_read_field_by_field_and_bytes_survive() -> None:
    vector = struct.pack("<2f", 0.1, -2.0)
    fields = {b"text": "grüße".encode(), b"embedding": vector, b"blob": b"\xff\x00", b"timestamp": b"1795773600"}
    (item,) = apply(record(fields, kind="hash"), choices=PRECOMPUTED)
    assert body(item).vectors == {"minilm": vector}
    assert body(item).properties["text"] == "grüße"
    extra = json.loads(str(body(item).properties["extra"]))
    assert extra == {"blob": {"$base64": "/wA="}, "timestamp": "1795773600"}


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1e400,"b":-0,"c":-0.0,"d":2.2250738585072011e-308,"e":0.1234567890123456789012345,"f":1E5}',
        '{"a":123456789012345678901234567890,"a":2}',
        ' {"a" : [1, 2.5e-300, true, null]} ',
        '{"a":"\\ud83d\\ude00 \\ud800 \x7f\u2028"}',
        '{"a":1}'.encode("utf-16"),
        '{"a":' + "[" * 300 + "]" * 300 + "}",
        '{"a":"\x01"}',
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":1}x',
        '{"a":01}',
        '{"a":1,}',
        '\ufeff{"a":1}',
        b'{"a":"\xff"}',
    ],
)
def test_json_is_what_pythons_own_parser_takes_it_for(text: str | bytes) -> None:
    given = Record(b"k", text, digest(b"k"), 1, "string")
    try:
        wanted = json.loads(text, parse_constant=lambda word: int("no " + word))
    except ValueError:
        with pytest.raises(Unfit):
            fields_of(given)
    else:
        assert repr(fields_of(given)) == repr(wanted)


def test_a_precomputed_vector_is_float32_bit_by_bit() -> None:
    (item,) = apply(record({"text": "x", "embedding": [0.1, 1, -0.0]}), choices=PRECOMPUTED)
    assert body(item).vectors["minilm"] == struct.pack("<3f", 0.1, 1.0, -0.0)
    assert "extra" not in body(item).properties


@pytest.mark.parametrize("vector", [None, [], ["a"], [1e300], "x", {"a": 1}, [[1.0]]])
def test_a_vector_that_is_none_is_rejected(vector: object) -> None:
    (rejected,) = apply(record({"text": "x", "embedding": vector}), choices=PRECOMPUTED)
    assert isinstance(rejected, Rejected)
    assert rejected.code in ("vector", "no-vector")


def test_texts_are_embedded_and_the_old_vector_is_not_kept() -> None:
    embedder = Embedder()
    transform = MemoryItems(lambda: SESSION, Choices(), embedder)
    given = [record({"text": "banana", "vector": [1.0]}), record(b"no"), record({"content": "x"}, b"memory:2")]
    one, two, three = transform.apply(given, {}, Cancel())
    assert body(one).vectors == {"minilm": struct.pack("<2f", 6, 3)}
    assert "extra" not in body(one).properties
    assert isinstance(two, Rejected)
    assert body(three).vectors["minilm"] == struct.pack("<2f", 1, 0)
    assert embedder.texts == ["banana", "x"]
    outlined = transform.outline(given, {}, Cancel())
    assert embedder.texts == ["banana", "x"], "an outline embeds nothing"
    assert [type(each) for each in outlined] == [Item, Rejected, Item]


def test_a_ttl_is_kept_as_the_moment_it_ends_and_said() -> None:
    (item,) = apply(record({"text": "x"}, ttl=3600.4))
    assert body(item).properties["expiresAt"] == "2026-11-28T11:00:01Z"
    transform = MemoryItems(lambda: SESSION, Choices(vectors="server", vector="", skip_expiring=60))
    assert "expiresAt" in transform.describe()["ttl"]
    soon, late = transform.apply([record({"text": "x"}, ttl=59), record({"text": "x"}, ttl=61)], {}, Cancel())
    assert isinstance(soon, Rejected)
    assert soon.code == "expiring"
    assert isinstance(late, Item)


def test_fields_can_be_named_and_metadata_is_looked_into() -> None:
    choices = Choices(vector="", vectors="server", fields={"text": ["note"], "timestamp": ["when"]})
    given = {"note": "x", "text": "not this", "when": "2026-11-27", "metadata": {"speaker": "ann"}}
    (item,) = apply(record(given), choices=choices)
    assert body(item).properties["text"] == "x"
    assert body(item).properties["speaker"] == "ann"
    assert item.group == "20261127"
    extra = json.loads(str(body(item).properties["extra"]))
    assert extra == {"text": "not this", "when": "2026-11-27", "metadata": {"speaker": "ann"}}


def test_content_blocks_of_a_chat_are_its_text() -> None:
    blocks = [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]
    (item,) = apply(record({"content": blocks}))
    assert body(item).properties["text"] == "one\ntwo"
    assert json.loads(str(body(item).properties["extra"])) == {"content": blocks}


def test_duplicate_ids_inside_items_and_odd_keys_stay_apart() -> None:
    keys = [b"memory:1", b"memory:2", b"", b"\xff\x00", "memory:{ü}".encode()]
    made = apply(*(record({"text": "x", "id": "same"}, key) for key in keys))
    assert len({item.id for item in made}) == len(keys)
    assert [item.body.properties["key"] for item in made][3] == "\\xff\x00"


def test_a_collection_that_would_lose_something_is_refused() -> None:
    with pytest.raises(ConfigError, match="extra"):
        MemoryItems(lambda: Shape("Session", {"text": "text"}, by_day=False), SERVER).describe()
    with pytest.raises(UsageError, match="speeker"):
        MemoryItems(lambda: SESSION, Choices(fields={"speeker": ["who"]})).describe()


def test_properties_of_other_types_are_converted_or_kept() -> None:
    shape = Shape(
        "Other",
        {"text": "text", "extra": "text", "n": "int", "x": "number", "ok": "boolean", "tags": "text[]", "u": "uuid"},
        by_day=False,
    )
    transform = MemoryItems(lambda: shape, SERVER)
    good = {"text": "t", "n": "12", "x": 3, "ok": "true", "tags": ["a", "b"], "u": "not one"}
    big = {"text": "t", "n": 2**60, "x": True, "ok": 1, "tags": [1, "b"]}
    one, two = transform.apply([record(good), record(big, b"memory:2")], {}, Cancel())
    assert {k: v for k, v in body(one).properties.items() if k != "extra"} == {
        "text": "t", "n": 12, "x": 3.0, "ok": True, "tags": ["a", "b"]
    }  # fmt: skip
    assert json.loads(str(body(one).properties["extra"])) == {"n": "12", "ok": "true", "u": "not one"}
    assert json.loads(str(body(two).properties["extra"])) == {"n": 2**60, "x": True, "ok": 1, "tags": [1, "b"]}
    assert isinstance(one, Item)
    assert one.group == ""


def test_the_id_is_what_the_vendors_client_makes_of_the_key() -> None:
    from weaviate.util import generate_uuid5

    (item,) = apply(record({"text": "x"}, b"memory:{1}"))
    assert item.id == str(generate_uuid5("memory:{1}"))


def test_a_dry_run_sees_widths_that_do_not_fit() -> None:
    shape = Shape("Session", SESSION.properties, by_day=True, widths={"minilm": 2})
    transform = MemoryItems(lambda: shape, PRECOMPUTED)
    given = [record({"text": "x", "embedding": [1.0] * width}) for width in (2, 3)]
    fits, wide = transform.outline(given, {}, Cancel())
    assert isinstance(fits, Item)
    assert isinstance(wide, Rejected)
    assert wide.code == "width"
