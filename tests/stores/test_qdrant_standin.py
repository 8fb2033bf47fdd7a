"""The stand-in for a Qdrant server, or a real one, as the vendor's own client sees it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from tests.stores.qdrant_server import Standin, any_qdrant, collection, qdrant_cloud

__all__ = ["any_qdrant", "collection", "qdrant_cloud"]

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used")


@pytest.fixture
def client(any_qdrant: tuple[str, str], collection: str) -> Iterator[QdrantClient]:
    url, key = any_qdrant
    client = QdrantClient(url=url, api_key=key or None, timeout=30, check_compatibility=False)
    yield client
    client.delete_collection(collection)
    client.close()


def floats(numbers: Any) -> bytes:
    return struct.pack(f"{len(numbers)}f", *numbers)


def test_a_collection_lives_through_the_vendors_client(client: QdrantClient, collection: str) -> None:
    client.create_collection(
        collection,
        {"text": models.VectorParams(size=4, distance=models.Distance.COSINE, on_disk=True)},
        {"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        hnsw_config=models.HnswConfigDiff(m=24),
        quantization_config=models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type="int8")),
    )
    assert client.collection_exists(collection)
    client.create_payload_index(collection, "city", models.PayloadSchemaType.KEYWORD)
    info = client.get_collection(collection)
    assert info.status is models.CollectionStatus.GREEN
    assert info.config.hnsw_config.m == 24
    assert info.config.quantization_config is not None
    assert info.config.params.vectors["text"].distance is models.Distance.COSINE
    assert info.payload_schema["city"].data_type is models.PayloadSchemaType.KEYWORD
    sparse = models.SparseVector(indices=[7, 3], values=[0.5, 0.25])
    uuid = "6f1c1a36-9a5f-4b62-8a6e-0f4f5a3d2b11"
    client.upsert(
        collection,
        [
            models.PointStruct(id=1, vector={"text": [1.0, 2.0, 2.0, 4.0], "words": sparse}, payload={"city": "Rome"}),
            models.PointStruct(id=uuid, vector={"text": [0.0, 0.6, 0.8, 0.0]}, payload={"city": "Oslo"}),
        ],
        wait=True,
    )
    assert client.count(collection, exact=True).count == 2
    page, following = client.scroll(collection, limit=1, with_vectors=True)
    assert (page[0].id, following) == (1, uuid)
    assert floats(page[0].vector["text"]) == floats([0.2, 0.4, 0.4, 0.8])
    assert page[0].vector["words"].indices == [3, 7]
    rome = models.Filter(must=[models.FieldCondition(key="city", match=models.MatchValue(value="Rome"))])
    assert client.count(collection, rome, exact=True).count == 1
    found = client.query_points(collection, [2.0, 4.0, 4.0, 8.0], using="text", limit=1, with_payload=True).points
    assert (found[0].id, found[0].payload) == (1, {"city": "Rome"})
    assert found[0].score == pytest.approx(1.0)
    client.delete(collection, [1], wait=True)
    assert [each.id for each in client.retrieve(collection, [1, uuid])] == [uuid]


def test_unit_vectors_stay_as_they_came_bit_by_bit(client: QdrantClient, collection: str) -> None:
    client.create_collection(collection, models.VectorParams(size=5, distance=models.Distance.COSINE))
    for number in range(20):
        client.upsert(collection, [models.PointStruct(id=1, vector=[1.0, number, 0.3, 7.7, -2.0])], wait=True)
        first = client.retrieve(collection, [1], with_vectors=True)[0].vector
        client.upsert(collection, [models.PointStruct(id=2, vector=first)], wait=True)
        assert floats(client.retrieve(collection, [2], with_vectors=True)[0].vector) == floats(first)


def test_refusals_are_the_servers(client: QdrantClient, collection: str, any_qdrant: tuple[str, str]) -> None:
    with pytest.raises(UnexpectedResponse, match="Not found") as missing:
        client.get_collection(collection)
    assert missing.value.status_code == 404
    client.create_collection(collection, models.VectorParams(size=2, distance=models.Distance.DOT))
    with pytest.raises(UnexpectedResponse, match="already exists") as twice:
        client.create_collection(collection, models.VectorParams(size=2, distance=models.Distance.DOT))
    assert twice.value.status_code == 409
    with pytest.raises(UnexpectedResponse, match="expected dim: 2") as wide:
        client.upsert(collection, [models.PointStruct(id=1, vector=[1.0, 2.0, 3.0])])
    assert wide.value.status_code == 400
    if any_qdrant[1]:
        stranger = QdrantClient(url=any_qdrant[0], api_key="another", timeout=30, check_compatibility=False)
        with pytest.raises(UnexpectedResponse) as denied:
            stranger.get_collections()
        assert denied.value.status_code in (401, 403)
        assert stranger.info().version
        stranger.close()


def test_what_was_written_is_there_after_a_kill(tmp_path: Path) -> None:
    server = Standin(folder=tmp_path)
    try:
        client = server.client()
        client.create_collection("kept", models.VectorParams(size=2, distance=models.Distance.COSINE))
        client.create_payload_index("kept", "n", models.PayloadSchemaType.INTEGER)
        points = [models.PointStruct(id=n, vector=[1.0, n], payload={"n": n}) for n in range(50)]
        client.upsert("kept", points)
        before = client.scroll("kept", limit=50, with_vectors=True)[0]
        server.kill()
        server.start()
        after = client.scroll("kept", limit=50, with_vectors=True)[0]
        assert [(p.id, p.payload, floats(p.vector)) for p in after] == [
            (p.id, p.payload, floats(p.vector)) for p in before
        ]
        assert client.get_collection("kept").payload_schema["n"].data_type is models.PayloadSchemaType.INTEGER
    finally:
        server.kill()


def test_faults_are_as_the_vendors_client_sees_them(qdrant_cloud: Standin, collection: str) -> None:
    client = qdrant_cloud.client()
    client.create_collection(collection, models.VectorParams(size=2, distance=models.Distance.DOT))
    qdrant_cloud.faults(down=1)
    with pytest.raises(UnexpectedResponse, match="503"):
        client.count(collection)
    qdrant_cloud.faults(lost=1)
    with pytest.raises(ResponseHandlingException):
        client.upsert(collection, [models.PointStruct(id=1, vector=[1.0, 2.0])])
    assert client.count(collection).count == 1
    qdrant_cloud.faults(refuse=1.0)
    with pytest.raises(UnexpectedResponse, match="not wanted"):
        client.upsert(collection, [models.PointStruct(id=2, vector=[1.0, 2.0])])
    qdrant_cloud.faults()
    assert client.count(collection).count == 1
    client.delete_collection(collection)
