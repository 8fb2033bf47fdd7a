"""What a probe is told of a Qdrant server, and how both sides of a move are compared."""

from __future__ import annotations

from typing import Any

import pytest
from qdrant_client import models
from tests.stores.qdrant_server import Standin, collection, qdrant, qdrant_cloud

from opsctl.jobs.qdrant_compare import compare, demand
from opsctl.jobs.qdrant_points import PointsAsTheyAre
from opsctl.model.cancel import Cancel
from opsctl.model.errors import GateFailed, OpsError, StepFailed, UnreachableError
from opsctl.model.measures import MEASURES, Question
from opsctl.model.migrate import Item, Record
from opsctl.model.secret import Secret
from opsctl.model.store import Target
from opsctl.stores.probes import measure
from opsctl.stores.probes_qdrant import measures
from opsctl.stores.qdrant_sink import QdrantSink
from opsctl.stores.qdrant_source import QdrantSource

__all__ = ["collection", "qdrant", "qdrant_cloud"]
pytestmark = pytest.mark.filterwarnings("ignore:Api key is used")


def target(server: Standin) -> Target:
    key = Secret(server.api_key) if server.api_key else None
    return Target("qdrant", Secret(server.url), f"127.0.0.1:{server.port}", f"qdrant:{server.port}", key)


def described(status: str, points: int, indexed: int, optimizer: Any = "ok") -> dict[str, Any]:
    config = {"params": {"vectors": {"a": {"size": 2, "distance": "Dot"}, "b": {"size": 3, "distance": "Dot"}}}}
    counts = {"points_count": points, "indexed_vectors_count": indexed}
    return {"status": status, "optimizer_status": optimizer, "config": config, **counts}


def test_health_is_the_worst_of_all_collections() -> None:
    found = measures({"a": described("green", 10, 20), "b": described("yellow", 30, 0)})
    assert (found["healthy"].value, found["green"].value) == (1.0, 0.0)
    assert found["green"].said == "b is yellow, being optimised"
    assert (found["points"].value, found["points"].said) == (40.0, "a 10, b 30")
    assert found["indexed"].value == pytest.approx(0.25)
    broken = measures({"a": described("red", 1, 0), "b": described("green", 1, 1, {"error": "no space left"})})
    assert broken["healthy"].value == 0.0
    assert broken["healthy"].said == "a is red, b is failing: its optimizer says no space left"
    assert measures({})["indexed"].value is None


def test_a_server_is_asked_within_the_bound(qdrant_cloud: Standin, collection: str) -> None:
    client = qdrant_cloud.client()
    client.create_collection(collection, models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(collection, [models.PointStruct(id=n, vector=[1.0, n]) for n in range(7)])
    every = tuple(MEASURES["qdrant"])
    found = measure(target(qdrant_cloud), Question("cloud", every, collection), Cancel(), 5.0)
    assert set(found) == set(every)
    assert (found["healthy"].value, found["green"].value, found["points"].value) == (1.0, 1.0, 7.0)
    assert 0 < (found["ready"].value or 0) < 5
    assert measure(target(qdrant_cloud), Question("cloud", ("points",)), Cancel(), 5.0)["points"].value >= 7
    with pytest.raises(StepFailed, match="Not found"):
        measure(target(qdrant_cloud), Question("cloud", every, "another"), Cancel(), 5.0)
    gone = Target("qdrant", Secret("http://127.0.0.1:9"), "127.0.0.1:9", "gone")
    with pytest.raises(UnreachableError, match="does not answer"):
        measure(gone, Question("gone", every), Cancel(), 5.0)
    qdrant_cloud.faults(slow=1.0)
    with pytest.raises(OpsError):
        measure(target(qdrant_cloud), Question("cloud", every, collection), Cancel(), 0.2)
    qdrant_cloud.faults()


def test_both_sides_are_counted_and_looked_at_again(qdrant: Standin, qdrant_cloud: Standin, collection: str) -> None:
    for server in (qdrant, qdrant_cloud):
        client = server.client()
        client.create_collection(collection, models.VectorParams(size=2, distance=models.Distance.DOT))
        client.upsert(collection, [models.PointStruct(id=n, vector=[1.0, n]) for n in range(30)])
    source = QdrantSource(target(qdrant), [collection])
    sink = QdrantSink(target(qdrant_cloud), source.specs)

    def items(records: Any) -> list[Item]:
        made = PointsAsTheyAre().apply(records, {}, Cancel())
        return [each for each in made if isinstance(each, Item)]

    (equal,) = compare(source, sink, items, Cancel())
    assert (equal.here, equal.there, equal.sampled, equal.same, equal.held) == (30, 30, 30, 30, True)
    qdrant_cloud.client().upsert(collection, [models.PointStruct(id=3, vector=[1.0, 3.5])])
    qdrant_cloud.client().upsert(collection, [models.PointStruct(id=99, vector=[1.0, 3.5])])
    (other,) = compare(source, sink, items, Cancel())
    assert str(other) == (
        f"{collection}: 30 points here, 31 there, 1 more than here; 29 of 30 looked at again are the same"
    )
    with pytest.raises(GateFailed, match="29 of 30"):
        demand((equal, other), "again")
    demand((equal,), "again")


def test_a_record_of_a_sample_is_whole(qdrant: Standin, collection: str) -> None:
    client = qdrant.client()
    client.create_collection(collection, models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(collection, [models.PointStruct(id=1, vector=[1.0, 2.0], payload={"a": 1})])
    (record,) = QdrantSource(target(qdrant), [collection]).sample(collection, 5, Cancel())
    assert isinstance(record, Record)
    assert (record.value["payload"], record.value["vector"]) == ({"a": 1}, [1.0, 2.0])
