"""Weaviate as a sink, on a real server: what comes back is what was written, and what is refused is told."""

from __future__ import annotations

import struct
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.stores.weaviate_server import WeaviateServer, running, weaviate

from opsctl.jobs.collections import apply
from opsctl.model.cancel import Cancel
from opsctl.model.collections import Collection, Declared
from opsctl.model.collections_file import load_collections
from opsctl.model.errors import ConfigError, UnreachableError
from opsctl.model.migrate import Item, Removal
from opsctl.model.vector_object import VectorObject
from opsctl.stores.weaviate_collections import WeaviateCollections
from opsctl.stores.weaviate_rest import WeaviateRest
from opsctl.stores.weaviate_sink import WeaviateSink

__all__ = ["weaviate"]
DAY, OTHER = "20261127", "20261126"
WIDTH = 8


@pytest.fixture
def cancel() -> Cancel:
    return Cancel(120)


def declared(name: str, width: int = WIDTH, **changes: Any) -> Collection:
    session = load_collections(None).collections["Session"]
    vectors = {"minilm": replace(session.vectors["minilm"], width=width)}
    return replace(session, name=name, vectors=vectors, **changes)


def make(server: WeaviateServer, wanted: Collection, cancel: Cancel) -> None:
    store = WeaviateCollections(server.target)
    try:
        done = apply(store, Declared("test", {wanted.name: wanted}), cancel)
        assert done.error is None, done.error
    finally:
        store.close()


def sink(server: WeaviateServer, name: str, **more: Any) -> WeaviateSink:
    return WeaviateSink(server.target, name, vectors=("minilm",), widths={"minilm": WIDTH}, **more)


@pytest.fixture
def session(weaviate: WeaviateServer, cancel: Cancel) -> Iterator[WeaviateSink]:
    name = f"S{uuid.uuid4().hex[:12]}"
    make(weaviate, declared(name), cancel)
    made = sink(weaviate, name)
    yield made
    made.close()
    rest = WeaviateRest(weaviate.target)
    rest.ask("DELETE", f"/schema/{name}", cancel)
    rest.close()


def vector(seed: float, width: int = WIDTH) -> bytes:
    return struct.pack(f"<{width}f", *(seed + number / 7 for number in range(width)))


def item(number: int, group: str = DAY, body: VectorObject | None = None, **properties: Any) -> Item:
    key = f"memory:{number}".encode()
    body = body or VectorObject({"text": f"text {number}", **properties}, {"minilm": vector(number)})
    name = str(uuid.uuid5(uuid.NAMESPACE_DNS, key.decode()))
    return Item(key, name, body, body.digest(("minilm",)), body.size, group)


def put(made: WeaviateSink, items: list[Item], cancel: Cancel) -> list[Any]:
    made.prepare({each.group for each in items}, cancel)
    return list(made.write(items, cancel))


def bare(each: Item) -> Item:
    """As a rerun asks: without a body."""
    return each._replace(body=None, size=0)


def test_what_is_read_back_is_what_was_written_bit_by_bit(session: WeaviateSink, cancel: Cancel) -> None:
    odd = [
        VectorObject(
            {"text": "grüße \u2028 \x00 \ud7ff😀 <&>", "timestamp": "2026-11-27T10:00:00.12Z", "threadId": ""}
        ),
        VectorObject({"text": "zero"}, {"minilm": bytes(4 * WIDTH)}),
        VectorObject({"text": "tiny"}, {"minilm": struct.pack("<8f", -0.0, *[1e-40] * 7)}),
        VectorObject({"text": "long" * 1_000_000, "extra": '{"a":1.0}', "threadId": "z" * 100_000}),
        VectorObject({"text": "unit"}, {"minilm": vector(1e30)}),
    ]
    items = [item(900 + number, body=body) for number, body in enumerate(odd)] + [item(n) for n in range(700)]
    assert put(session, items, cancel) == []
    assert session.read(items, cancel) == [each.digest for each in items]
    assert session.read([bare(each) for each in items], cancel) == [each.digest for each in items]
    described = session.describe(cancel)
    assert (described.product, described.version) == ("Weaviate", "1.35.2")


def test_writing_twice_leaves_one_and_a_new_body_replaces_the_old(session: WeaviateSink, cancel: Cancel) -> None:
    first = item(1, speaker="ann")
    second = item(1, body=VectorObject({"text": "new"}, {"minilm": vector(5)}))
    assert put(session, [first], cancel) == put(session, [first], cancel) == []
    assert put(session, [item(2), second, item(2)], cancel) == []
    assert session.read([first], cancel) == [second.digest]
    store = WeaviateCollections(session._target)
    assert store.count(session._collection, DAY, cancel) == 2
    store.close()


def test_tenants_are_made_woken_and_put_back_to_rest(
    session: WeaviateSink, weaviate: WeaviateServer, cancel: Cancel
) -> None:
    one, two = item(1), item(2, OTHER)
    assert put(session, [one, two], cancel) == []
    rest = WeaviateRest(weaviate.target)
    rest.set_tenants(session._collection, {OTHER: "INACTIVE"}, cancel)
    again = sink(weaviate, session._collection)
    assert again.read([bare(one), bare(two)], cancel) == [one.digest, two.digest]
    assert again.locate([one.id, two.id, str(uuid.uuid4())], cancel) == {one.id: DAY, two.id: OTHER}
    assert put(again, [two], cancel) == []
    assert rest.tenants(session._collection, cancel) == {DAY: "ACTIVE", OTHER: "ACTIVE"}
    again.close()
    assert rest.tenants(session._collection, cancel) == {DAY: "ACTIVE", OTHER: "INACTIVE"}
    # The first sink still believes that it is awake.
    assert put(session, [two], cancel) == []
    assert session.read([bare(two), bare(item(7, "20200101"))], cancel) == [two.digest, None]
    assert "20200101" not in rest.tenants(session._collection, cancel), "reading makes no tenant"
    rest.close()


def test_a_tenant_that_the_server_would_neither_make_nor_wake(weaviate: WeaviateServer, cancel: Cancel) -> None:
    name = f"M{uuid.uuid4().hex[:12]}"
    plain = declared(name)
    assert plain.tenants is not None
    make(weaviate, replace(plain, tenants=replace(plain.tenants, create=False, activate=False)), cancel)
    made, rest = sink(weaviate, name), WeaviateRest(weaviate.target)
    assert put(made, [item(1)], cancel) == []
    rest.set_tenants(name, {DAY: "INACTIVE"}, cancel)
    assert put(made, [item(2)], cancel) == [], "put to rest by somebody else meanwhile"
    rest.set_tenants(name, {DAY: "INACTIVE"}, cancel)
    assert made.read([bare(item(1)), bare(item(2))], cancel) == [item(1).digest, item(2).digest]
    made.close()
    rest.ask("DELETE", f"/schema/{name}", cancel)
    rest.close()


def test_objects_are_refused_one_by_one_and_the_rest_is_written(session: WeaviateSink, cancel: Cancel) -> None:
    bad = {number: item(number, timestamp="soon") for number in range(0, 200, 20)}
    items = [bad.get(number) or item(number) for number in range(200)]
    refused = put(session, items, cancel)
    assert {each.key for each in refused} == {each.key for each in bad.values()}
    assert all("RFC3339" in each.reason and each.code == "refused" for each in refused)
    read = session.read([bare(each) for each in items], cancel)
    assert [found is not None for found in read] == [number not in bad for number in range(200)]
    assert len(put(session, list(bad.values()), cancel)) == len(bad), "and all of a batch at once"


def test_a_width_that_does_not_fit_is_refused_before_anything_is_written(session: WeaviateSink, cancel: Cancel) -> None:
    wrong = item(1, body=VectorObject({"text": "x"}, {"minilm": vector(1, 3)}))
    assert session.check([wrong, wrong], cancel) == [
        f"the vector minilm has 3 numbers, and {session._collection} keeps {WIDTH}"
    ]
    (refused,) = put(session, [wrong, item(2)], cancel)
    assert (refused.key, refused.code) == (b"memory:1", "width")
    assert session.read([bare(wrong), bare(item(2))], cancel) == [None, item(2).digest]


def test_the_width_of_what_is_stored_counts_more_than_what_is_declared(
    session: WeaviateSink, weaviate: WeaviateServer, cancel: Cancel
) -> None:
    put(session, [item(1)], cancel)
    other = WeaviateSink(weaviate.target, session._collection, vectors=("minilm",), widths={"minilm": 384})
    assert other.check([item(2)], cancel) == []
    other.close()


def test_an_object_that_is_refused_and_kept_all_the_same_is_taken_away(
    session: WeaviateSink, weaviate: WeaviateServer, cancel: Cancel
) -> None:
    put(session, [item(1)], cancel)
    blind = WeaviateSink(weaviate.target, session._collection, vectors=("minilm",))
    blind._rest.widths = lambda *_: {}  # type: ignore[method-assign]  # as in a tenant nobody looked into
    wrong = item(2, body=VectorObject({"text": "x"}, {"minilm": vector(1, 3)}))
    (refused,) = put(blind, [wrong], cancel)
    assert "length" in refused.reason
    assert blind.read([bare(wrong)], cancel) == [None]
    blind.close()


def test_an_unknown_property_is_refused_and_not_added_to_the_schema(
    session: WeaviateSink, weaviate: WeaviateServer, cancel: Cancel
) -> None:
    unknown = item(1, colour="red")
    assert session.check([unknown], cancel) == [
        f"{session._collection} has no property colour: opsctl collections apply"
    ]
    (refused,) = put(session, [unknown], cancel)
    assert refused.code == "property"
    rest = WeaviateRest(weaviate.target)
    settings = rest.collection(session._collection, cancel)
    rest.close()
    assert settings is not None
    assert "colour" not in [each["name"] for each in settings["properties"]]


def test_taken_back_is_only_what_still_is_what_was_written(session: WeaviateSink, cancel: Cancel) -> None:
    items = [item(number) for number in range(3)]
    put(session, items, cancel)
    put(session, [item(1, body=VectorObject({"text": "edited"}, {"minilm": vector(1)}))], cancel)
    written = [(each.id, each.group, each.digest) for each in (*items, item(9), item(8, "20200101"))]
    assert session.remove(written, cancel) == [
        Removal.REMOVED,
        Removal.CHANGED,
        Removal.REMOVED,
        Removal.GONE,
        Removal.GONE,
    ]
    assert [found is not None for found in session.read(items, cancel)] == [False, True, False]


def test_every_uuid_is_found_also_one_that_begins_with_zeros(session: WeaviateSink, cancel: Cancel) -> None:
    items = [item(number)._replace(id=str(uuid.UUID(int=number + 1))) for number in range(3)]
    assert put(session, items, cancel) == []
    assert session.read([bare(each) for each in items], cancel) == [each.digest for each in items]


@pytest.mark.parametrize("quantizer", ["rq", "bq", "sq"])
def test_vectors_come_back_whole_from_a_compressed_index(
    weaviate: WeaviateServer, cancel: Cancel, quantizer: str
) -> None:
    name, rest = f"K{uuid.uuid4().hex[:12]}", WeaviateRest(weaviate.target)
    index = {"distance": "cosine", quantizer: {"enabled": True}}
    vectors = {"minilm": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw", "vectorIndexConfig": index}}
    properties = [{"name": "text", "dataType": ["text"]}]
    rest.ask("POST", "/schema", cancel, {"class": name, "properties": properties, "vectorConfig": vectors})
    made = sink(weaviate, name)
    items = [item(number, "") for number in range(50)]
    assert put(made, items, cancel) == []
    assert made.read([bare(each) for each in items], cancel) == [each.digest for each in items]
    made.close()
    rest.ask("DELETE", f"/schema/{name}", cancel)
    rest.close()


def test_what_is_not_there_is_said(weaviate: WeaviateServer, cancel: Cancel) -> None:
    with pytest.raises(ConfigError, match="no collection Nowhere") as raised:
        sink(weaviate, "Nowhere").describe(cancel)
    assert raised.value.info.next == "opsctl collections apply"
    name = f"V{uuid.uuid4().hex[:12]}"
    make(weaviate, declared(name), cancel)
    with pytest.raises(ConfigError, match="no vector openai"):
        WeaviateSink(weaviate.target, name, vectors=("openai",)).describe(cancel)


def test_a_collection_without_tenants_or_names_for_its_vector(weaviate: WeaviateServer, cancel: Cancel) -> None:
    name = f"P{uuid.uuid4().hex[:12]}"
    make(weaviate, declared(name, tenants=None), cancel)
    plain = sink(weaviate, name)
    items = [item(number, "") for number in range(3)]
    assert put(plain, items, cancel) == []
    assert plain.read([bare(each) for each in items], cancel) == [each.digest for each in items]
    assert plain.locate([items[0].id, str(uuid.uuid4())], cancel) == {items[0].id: ""}
    assert plain.check([item(4, DAY)], cancel) == [f"{name} has no tenants"]
    plain.close()
    rest = WeaviateRest(weaviate.target)
    properties = [{"name": "text", "dataType": ["text"]}]
    rest.ask("POST", "/schema", cancel, {"class": f"L{name}", "vectorizer": "none", "properties": properties})
    rest.close()
    legacy = WeaviateSink(weaviate.target, f"L{name}", vectors=("default",))
    body = VectorObject({"text": "one"}, {"default": vector(3)})
    one = Item(b"k", str(uuid.uuid4()), body, body.digest(("default",)), body.size)
    assert put(legacy, [one], cancel) == []
    assert legacy.read([bare(one)], cancel) == [one.digest]
    legacy.close()


def test_a_server_that_is_killed_and_comes_back_in_the_middle(tmp_path: Path, cancel: Cancel) -> None:
    with running(tmp_path) as server:
        make(server, declared("Session"), cancel)
        made = sink(server, "Session")
        items = [item(number, DAY if number % 2 else OTHER) for number in range(2_000)]
        refused: list[Any] = []

        def write() -> None:
            for start in range(0, len(items), 100):
                refused.extend(put(made, items[start : start + 100], cancel))
                begun.set()

        begun = threading.Event()
        writer = threading.Thread(target=write)
        writer.start()
        assert begun.wait(60)
        server.kill()
        server.start()
        writer.join(90)
        assert not writer.is_alive()
        assert refused == []
        wanted = [each.digest for each in items]
        missing = [
            each for each, digest in zip(items, made.read([bare(i) for i in items], cancel), strict=True) if not digest
        ]
        # A kill may take what was written in the last moments: the engine reads back, and writes again what is missing.
        assert put(made, missing, cancel) == [] if missing else True
        assert made.read([bare(each) for each in items], cancel) == wanted
        made.close()


def test_a_server_that_stays_away_is_unreachable_and_a_cancelled_run_does_not_wait(tmp_path: Path) -> None:
    with running(tmp_path, AUTHENTICATION_APIKEY_ENABLED="true", **_KEYS) as server:
        make(server, declared("Session"), Cancel(60))
        made = sink(server, "Session", patience=1.0)
        put(made, [item(1)], Cancel(60))
        wrong = replace(server.target, api_key=None)
        with pytest.raises(ConfigError, match="does not let us in"):
            WeaviateSink(wrong, "Session").describe(Cancel(60))
        server.stop()
        with pytest.raises(UnreachableError, match="does not answer"):
            made.write([item(2)], Cancel(60))
        made.close()


_KEYS = {
    "AUTHENTICATION_APIKEY_ALLOWED_KEYS": "a-key-for-tests",
    "AUTHENTICATION_APIKEY_USERS": "tester",
    "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
    "AUTHORIZATION_ADMINLIST_ENABLED": "true",
    "AUTHORIZATION_ADMINLIST_USERS": "tester",
}
