"""What `validate` asks a Weaviate, on a real server."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Opsctl
from tests.stores.weaviate_server import WeaviateServer, free_ports, weaviate

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UnreachableError
from opsctl.model.measures import MEASURES, Question
from opsctl.model.vector_object import VectorObject
from opsctl.stores.probes_weaviate import measure_weaviate, percentile
from opsctl.stores.weaviate_rest import WeaviateRest
from opsctl.stores.weaviate_wire import WeaviateWire

__all__ = ["weaviate"]


@pytest.fixture
def filled(weaviate: WeaviateServer) -> Iterator[str]:
    """A collection with two tenants, one of them at rest."""
    name, cancel = f"Q{uuid.uuid4().hex[:12]}", Cancel(60)
    rest, wire = WeaviateRest(weaviate.target), WeaviateWire(weaviate.target, largest=10_000_000)
    vector = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
    body = {
        "class": name,
        "properties": [{"name": "text", "dataType": ["text"]}],
        "vectorConfig": {"minilm": vector},
        "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True},
    }
    rest.ask("POST", "/schema", cancel, body)
    for day in ("20261126", "20261127"):
        objects = [
            (str(uuid.uuid4()), VectorObject({"text": f'say "{n}"'}, {"minilm": struct.pack("<3f", n, 1, 2)}))
            for n in range(20)
        ]
        assert wire.insert(name, day, objects, cancel) == {}
    rest.set_tenants(name, {"20261126": "INACTIVE"}, cancel)
    yield name
    rest.ask("DELETE", f"/schema/{name}", cancel)
    rest.close()
    wire.close()


def test_every_measure_is_answered(weaviate: WeaviateServer, filled: str) -> None:
    question = Question("vectors", tuple(MEASURES["weaviate"]), filled, weaviate.metrics)
    found = measure_weaviate(weaviate.target, question, Cancel(60))
    assert set(found) == set(MEASURES["weaviate"])
    values = {name: each.value for name, each in found.items()}
    assert (values["tenants"], values["objects"], values["healthy"]) == (2, 20, 1)
    assert found["tenants"].said == "1 active, 1 inactive"
    assert "hybrid" in found["query"].said
    assert all(values[name] is not None for name in ("ready", "query", "query_metric"))
    assert "since it started" in found["query_metric"].said


def test_what_it_cannot_say_is_none_with_the_reason(weaviate: WeaviateServer, filled: str) -> None:
    rest, cancel = WeaviateRest(weaviate.target), Cancel(60)
    rest.set_tenants(filled, {"20261127": "INACTIVE"}, cancel)
    rest.close()
    found = measure_weaviate(weaviate.target, Question("v", ("query", "query_metric"), filled), cancel)
    assert found["query"].value is None
    assert "nothing is stored" in found["query"].said
    assert "/metrics" in found["query_metric"].said
    with pytest.raises(StepFailed, match="no collection Nowhere"):
        measure_weaviate(weaviate.target, Question("v", ("objects",), "Nowhere"), cancel)
    (port,) = free_ports(1)
    away = Question("v", ("query_metric",), "", f"http://127.0.0.1:{port}/metrics")
    with pytest.raises(UnreachableError, match="does not answer"):
        measure_weaviate(weaviate.target, away, cancel)


def test_the_percentile_of_a_histogram() -> None:
    lines = [
        f'queries_durations_ms_bucket{{class_name="A",query_type="get_grpc",le="{le}"}} {count}'
        for le, count in (("10", 90), ("50", 98), ("100", 100), ("+Inf", 100))
    ]
    lines.append('queries_durations_ms_bucket{class_name="A",query_type="batch",le="+Inf"} 9000')
    lines.append('queries_durations_ms_bucket{class_name="B",query_type="get_grpc",le="+Inf"} 7')
    text = "\n".join(lines)
    value = percentile(text, "A").value
    assert value == pytest.approx((10 + 40 * 5 / 8) / 1000)
    assert percentile(text, "B").value == 0
    assert percentile(text, "C").value is None
    assert percentile("", "").value is None


def test_validate_asks_it(weaviate: WeaviateServer, filled: str, tmp_path: Path) -> None:
    stack = {
        "version": 1,
        "droplets": {"here": {"address": "local"}},
        "stores": {"vectors": {"weaviate": weaviate.url, "grpc_port": weaviate.grpc_port}},
        "probes": {
            "vectors": {
                "store": "vectors",
                "collection": filled,
                "expect": {"ready": "30s", "query": "30s", "objects": 20, "tenants": 2},
            },
            "empty": {"store": "vectors", "collection": filled, "expect": {"objects": 1000}},
        },
    }
    (tmp_path / "opsctl.yaml").write_text(json.dumps(stack))
    done = Opsctl(folder=tmp_path).json("validate")
    passed = {each["name"]: each["passed"] for each in done["droplets"][0]["result"]["probes"]}
    assert (done["exit_code"], passed) == (7, {"vectors": True, "empty": False})
