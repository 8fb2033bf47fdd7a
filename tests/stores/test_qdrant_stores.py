"""Points out of one Qdrant and into another: nothing lost, nothing else, whatever the wire and the servers do."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json, to_json
from qdrant_client import QdrantClient, models
from tests.stores.qdrant_server import Standin, collection, qdrant, qdrant_cloud

from opsctl.jobs.qdrant_points import PointsAsTheyAre
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, UnreachableError, UsageError
from opsctl.model.migrate import Item, Record, Removal
from opsctl.model.qdrant_point import dumped, fingerprint, key_of, loaded, split_key
from opsctl.model.secret import Secret
from opsctl.model.store import Target
from opsctl.stores.qdrant_folder import QdrantFolder
from opsctl.stores.qdrant_raw import same_texts, texts_of, with_texts
from opsctl.stores.qdrant_sink import QdrantSink
from opsctl.stores.qdrant_source import QdrantSource

__all__ = ["collection", "qdrant", "qdrant_cloud"]
pytestmark = pytest.mark.filterwarnings("ignore:Api key is used", "ignore:Payload indexes have no effect")

UUID = "6f1c1a36-9a5f-4b62-8a6e-0f4f5a3d2b11"


def target(server: Standin, key: str | None = None) -> Target:
    given = server.api_key if key is None else key
    secret = Secret(given) if given else None
    return Target("qdrant", Secret(server.url), f"127.0.0.1:{server.port}", f"qdrant:{server.port}", secret)


def create(client: QdrantClient, name: str) -> None:
    """A collection with every kind of vector, and settings of its own."""
    late = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client.create_collection(
        name,
        {
            "text": models.VectorParams(size=8, distance=models.Distance.COSINE, on_disk=True),
            "late": models.VectorParams(size=4, distance=models.Distance.DOT, multivector_config=late),
        },
        {"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        hnsw_config=models.HnswConfigDiff(m=24),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=5_000),
        quantization_config=models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type="int8")),
    )
    client.create_payload_index(name, "city", models.PayloadSchemaType.KEYWORD)
    text = models.TextIndexParams(type="text", tokenizer=models.TokenizerType.WORD, min_token_len=3)
    client.create_payload_index(name, "body", text)


def fill(client: QdrantClient, name: str, number: int) -> None:
    """Points with integer and UUID ids, some without this or that vector, payloads with everything JSON has."""
    chance = random.Random(5)
    points = []
    for n in range(number):
        vector: dict[str, Any] = {"text": [chance.uniform(-1, 1) for _ in range(8)]}
        if n % 2:
            vector["late"] = [[chance.uniform(-9, 9) for _ in range(4)] for _ in range(1 + n % 3)]
        if n % 3:
            some = chance.sample(range(1 << 32), 5)
            vector["words"] = models.SparseVector(indices=some, values=[chance.uniform(0, 3) for _ in some])
        payload = {
            "city": "Zürich 🏔",
            "n": n,
            "big": 2**63 - n - 1,
            "x": 1.0,
            "f": 0.1 + n,
            "deep": {"a": [1, None, "ü"]},
        }
        points.append(models.PointStruct(id=n if n % 5 else UUID[:-4] + f"{n:04d}", vector=vector, payload=payload))
    points.append(models.PointStruct(id=2**64 - 1, vector={}, payload={}))
    for start in range(0, len(points), 100):
        client.upsert(name, points[start : start + 100], wait=True)


def scanned(source: QdrantSource | QdrantFolder, batch: int = 64) -> list[Record]:
    return [record for page in source.scan(batch, Cancel(60)) for record in page]


def items(records: Sequence[Record]) -> list[Item]:
    made = PointsAsTheyAre().apply(records, {}, Cancel())
    return [each for each in made if isinstance(each, Item)]


def copied(source: QdrantSource | QdrantFolder, sink: QdrantSink) -> list[Item]:
    """Everything from the one into the other, and read back."""
    cancel, every = Cancel(60), items(scanned(source))
    for start in range(0, len(every), 100):
        part = every[start : start + 100]
        sink.prepare({each.group for each in part}, cancel)
        assert not sink.write(part, cancel)
        assert list(sink.read(part, cancel)) == [each.digest for each in part]
    return every


@pytest.fixture
def filled(qdrant: Standin, collection: str) -> Iterator[str]:
    client = qdrant.client()
    create(client, collection)
    fill(client, collection, 300)
    yield collection
    client.delete_collection(collection)
    client.close()


@pytest.fixture
def source(qdrant: Standin, filled: str) -> Iterator[QdrantSource]:
    made = QdrantSource(target(qdrant), [filled])
    yield made
    made.close()


@pytest.fixture
def sink(qdrant_cloud: Standin, source: QdrantSource) -> Iterator[QdrantSink]:
    made = QdrantSink(target(qdrant_cloud), source.specs)
    yield made
    made.close()
    qdrant_cloud.faults()


def test_every_point_arrives_bit_by_bit_with_its_collection(
    source: QdrantSource, sink: QdrantSink, qdrant: Standin, qdrant_cloud: Standin, filled: str
) -> None:
    assert source.estimate(Cancel()).records == 301
    every = copied(source, sink)
    assert len({each.id for each in every}) == 301
    before, after = qdrant.client(), qdrant_cloud.client()
    ours, theirs = before.get_collection(filled), after.get_collection(filled)
    assert theirs.config == ours.config
    assert {k: v.params or v.data_type for k, v in theirs.payload_schema.items()} == {
        k: v.params or v.data_type for k, v in ours.payload_schema.items()
    }
    first = before.scroll(filled, limit=1_000, with_vectors=True)[0]
    second = after.scroll(filled, limit=1_000, with_vectors=True)[0]
    assert [each.payload for each in first] == [each.payload for each in second]
    assert [each.id for each in first] == [each.id for each in second]


def test_the_order_of_a_scan_is_that_of_the_ids(source: QdrantSource, filled: str) -> None:
    ids = [split_key(each.key)[1] for each in scanned(source)]
    numbers = [int(each) for each in ids if each.isdigit()]
    assert numbers == sorted(numbers)
    assert ids[len(numbers) :] == sorted(ids[len(numbers) :])


def test_an_alias_names_its_collection_and_goes_along(qdrant: Standin, qdrant_cloud: Standin, filled: str) -> None:
    alias = f"alias-{filled}"
    made = models.CreateAlias(collection_name=filled, alias_name=alias)
    qdrant.client().update_collection_aliases([models.CreateAliasOperation(create_alias=made)])
    by_alias = QdrantSource(target(qdrant), [alias])
    assert list(by_alias.specs(Cancel())) == [filled]
    goal = QdrantSink(target(qdrant_cloud), by_alias.specs)
    goal.prepare([filled], Cancel())
    there = {each.alias_name: each.collection_name for each in qdrant_cloud.client().get_aliases().aliases}
    assert there[alias] == filled


def test_what_does_not_fit_is_said_before_anything_is_written(
    source: QdrantSource, sink: QdrantSink, qdrant_cloud: Standin, filled: str
) -> None:
    assert not sink.check([], Cancel())
    assert not sink.describe(Cancel()).notes
    other = models.VectorParams(size=9, distance=models.Distance.DOT)
    qdrant_cloud.client().create_collection(filled, {"text": other})
    said = "\n".join(sink.check([], Cancel()))
    assert "vector 'text' has size 8 here and 9 at the target" in said
    assert "vector 'text' has distance Cosine here and Dot at the target" in said
    assert "no vector 'late'" in said
    assert "no sparse vector 'words'" in said
    assert "hnsw_config" in "\n".join(sink.describe(Cancel()).notes)
    assert len(qdrant_cloud.client().get_collections().collections) >= 1


def test_limits_of_strict_mode_are_kept_on_both_sides(qdrant: Standin, qdrant_cloud: Standin, collection: str) -> None:
    strict = models.StrictModeConfig(enabled=True, max_query_limit=7, upsert_max_batchsize=5, max_points_count=10)
    params = models.VectorParams(size=2, distance=models.Distance.DOT)
    for server in (qdrant, qdrant_cloud):
        server.client().create_collection(collection, params, strict_mode_config=strict)
    points = [models.PointStruct(id=n, vector=[1.0, n]) for n in range(20)]
    for start in range(0, 20, 5):
        qdrant.client().upsert(collection, points[start : start + 5])
    origin = QdrantSource(target(qdrant), [collection])
    goal = QdrantSink(target(qdrant_cloud), origin.specs)
    assert len(copied(origin, goal)) == 20
    assert "20 points, and the target takes 10" in "\n".join(goal.check([], Cancel()))


def test_refused_points_are_found_and_the_others_arrive(
    source: QdrantSource, sink: QdrantSink, qdrant_cloud: Standin, filled: str
) -> None:
    every = items(scanned(source))
    sink.prepare([filled], Cancel())
    qdrant_cloud.faults(refuse=0.05)
    rejected = sink.write(every, Cancel(60))
    qdrant_cloud.faults()
    assert 3 <= len(rejected) <= 40
    assert all("is not wanted here" in each.reason for each in rejected)
    blamed = {each.key for each in rejected}
    found = sink.read(every, Cancel())
    assert [each.key for each, stored in zip(every, found, strict=True) if stored is None] == [
        each.key for each in every if each.key in blamed
    ]


def test_a_point_stored_otherwise_is_seen(
    source: QdrantSource, sink: QdrantSink, qdrant_cloud: Standin, filled: str
) -> None:
    chosen = items(scanned(source))[:20]
    changed = [each._replace(body=each.body.replace(b'"x":1.0', b'"x":1')) for each in chosen]
    sink.prepare([filled], Cancel())
    assert not sink.write(changed, Cancel())
    assert not any(stored == each.digest for each, stored in zip(chosen, sink.read(chosen, Cancel()), strict=True))


def test_an_outage_of_the_target_in_the_middle_is_waited_out(qdrant: Standin, collection: str, tmp_path: Path) -> None:
    client = qdrant.client()
    create(client, collection)
    fill(client, collection, 300)
    origin, server = QdrantSource(target(qdrant), [collection]), Standin(folder=tmp_path, api_key="k" * 12)
    goal = QdrantSink(target(server), origin.specs)
    try:
        every = items(scanned(origin))
        goal.prepare([collection], Cancel())
        assert not goal.write(every[:100], Cancel())
        server.kill()
        again = threading.Timer(0.5, server.start)
        again.start()
        assert not goal.write(every[100:200], Cancel(60))
        again.join()
        server.faults(down=2, lost=2)
        assert not goal.write(every[200:], Cancel(60))
        assert list(goal.read(every, Cancel(60))) == [each.digest for each in every]
        assert server.client().count(collection).count == len(every)
    finally:
        server.kill()


def test_a_scan_goes_on_after_an_outage_where_it_was(source: QdrantSource, qdrant: Standin, filled: str) -> None:
    whole = scanned(source)
    strict = models.StrictModeConfig(enabled=True, max_query_limit=50)
    qdrant.client().update_collection(filled, strict_mode_config=strict)
    pages = QdrantSource(target(qdrant), [filled]).scan(50, Cancel(60))
    first = next(pages)
    qdrant.faults(down=2, limited=1, lost=1)
    assert [each.key for each in [*first, *(each for page in pages for each in page)]] == [each.key for each in whole]


def test_who_stays_away_is_unreachable_and_a_wrong_key_is_told_apart(qdrant_cloud: Standin) -> None:
    gone = Target("qdrant", Secret("http://127.0.0.1:9"), "127.0.0.1:9", "gone")
    with pytest.raises(UnreachableError, match=r"did not answer for 0\.3 s"):
        QdrantSource(gone, patience=0.3).describe(Cancel())
    for key, words in (("another", "its API key is not accepted"), ("", "it wants an API key")):
        with pytest.raises(UnreachableError, match=words):
            QdrantSource(target(qdrant_cloud, key)).describe(Cancel())


def test_only_what_is_still_the_same_is_deleted_and_comes_back(
    source: QdrantSource, qdrant: Standin, filled: str
) -> None:
    records = scanned(source)[:10]
    seen = [(each.key, each.digest) for each in records]
    kept = [source.dump(each) for each in records]
    client = qdrant.client()
    changed = split_key(records[3].key)[1]
    client.upsert(filled, [models.PointStruct(id=int(changed), vector={}, payload={"city": "Bern"})])
    client.delete(filled, [int(split_key(records[4].key)[1])])
    expected = [Removal.REMOVED] * 3 + [Removal.CHANGED, Removal.GONE] + [Removal.REMOVED] * 5
    assert list(source.remove(seen, Cancel())) == expected
    assert list(source.remove(seen[:3], Cancel())) == [Removal.GONE] * 3
    outcome = ["restored"] * 3 + ["differs"] + ["restored"] * 6
    assert list(source.restore(kept, Cancel())) == outcome
    assert list(source.restore(kept[:3], Cancel())) == ["there"] * 3
    again = source.fetch([each.key for each in records], Cancel())
    assert [each and each.digest for each in again[:3]] == [each.digest for each in records[:3]]


def test_a_rollback_takes_back_only_what_is_as_it_was_written(
    source: QdrantSource, sink: QdrantSink, qdrant_cloud: Standin, filled: str
) -> None:
    every = copied(source, sink)[:3]
    qdrant_cloud.client().delete(filled, [int(every[1].id)])
    written = [(each.id, each.group, each.digest) for each in every[:2]] + [(every[2].id, filled, b"another")]
    assert list(sink.remove(written, Cancel())) == [Removal.REMOVED, Removal.GONE, Removal.CHANGED]
    assert sink.locate([each.id for each in every], Cancel()) == {every[2].id: filled}


def test_a_folder_of_local_mode_arrives_as_a_server_would_have_it(
    qdrant_cloud: Standin, collection: str, tmp_path: Path
) -> None:
    with_names = QdrantClient(path=str(tmp_path / "local"))
    create(with_names, collection)
    fill(with_names, collection, 100)
    plain = models.VectorParams(size=384, distance=models.Distance.COSINE)
    with_names.create_collection(f"{collection}-plain", plain)
    chance = random.Random(1)
    wide = [[chance.uniform(-1, 1) for _ in range(384)] for _ in range(50)]
    points = [models.PointStruct(id=n, vector=vector) for n, vector in enumerate(wide)]
    with_names.upsert(f"{collection}-plain", points)
    with pytest.raises(UnreachableError, match="in use"):
        QdrantFolder(tmp_path / "local").describe(Cancel())
    with_names.close()
    folder = QdrantFolder(tmp_path / "local")
    goal = QdrantSink(target(qdrant_cloud), folder.specs)
    assert len(copied(folder, goal)) == 151
    record = scanned(folder)[0]
    assert list(folder.remove([(record.key, record.digest)], Cancel())) == [Removal.REMOVED]
    assert list(folder.restore([folder.dump(record)], Cancel())) == ["restored"]
    folder.close()


def test_folders_that_are_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        QdrantFolder(tmp_path / "none").describe(Cancel())
    with pytest.raises(ConfigError, match="no folder of Qdrant's local mode"):
        QdrantFolder(tmp_path).specs(Cancel())
    (tmp_path / "collections").mkdir()
    with pytest.raises(ConfigError, match="storage of a Qdrant server"):
        QdrantFolder(tmp_path).describe(Cancel())
    assert [each.name for each in tmp_path.iterdir()] == ["collections"]


def test_a_key_and_a_file_keep_a_point_whole() -> None:
    assert split_key(key_of("odd:name", UUID)) == ("odd:name", UUID)
    point = {
        "id": 7,
        "payload": {"a": 1},
        "vector": {"": [0.1, 1e-30], "m": [[0.5], [0.25]], "s": {"indices": [9, 2], "values": [0.1, 0.2]}},
    }
    name, again = loaded(dumped("the-shop", point))
    assert name == "the-shop"
    assert fingerprint(again)[0] == fingerprint(point)[0]
    assert fingerprint({**point, "payload": {"a": 1.0}})[0] != fingerprint(point)[0]
    assert fingerprint({"id": 1, "payload": None, "vector": [1.0]}) == fingerprint(
        {"id": 1, "payload": {}, "vector": [1.0]}
    )


def test_a_text_that_looks_like_two_points_is_not_cut() -> None:
    odd = {"id": 1, "payload": {"rows": [{"a": 1}, {"id": 2}]}, "vector": [0.5]}
    plain = {"id": 2, "payload": {"a": '},{"id":'}, "vector": [0.25]}
    assert texts_of(to_json({"result": {"points": [odd, plain]}, "time": 0.1}), 2) is None
    whole = to_json({"result": {"points": [plain, {**plain, "id": 3}], "next_page_offset": 4}, "status": "ok"})
    texts = texts_of(whole, 2)
    assert texts is not None
    assert [from_json(each)["id"] for each in texts] == [2, 3]
    assert texts_of(to_json({"result": [plain]}), 1) == [to_json(plain)]
    assert texts_of(b'{"result":[]}', 0) is None
    points = [from_json(each) for each in texts]
    with_texts(whole, points)
    assert [each["text"] for each in points] == texts
    bare = [{"id": 1, "payload": {}, "vector": [0.5], "shard_key": "eu"}, {"id": 2, "payload": {}, "vector": None}]
    with_texts(to_json({"result": {"points": bare}}), bare)
    assert not any("text" in each for each in bare)
    assert same_texts(whole, texts)
    assert same_texts(whole, texts[::-1])
    assert not same_texts(whole, [texts[1], b"other"])
    assert not same_texts(whole, [texts[0], texts[0]])
    assert not same_texts(whole, texts[:1])
    assert not same_texts(whole, [*texts, texts[0]])
