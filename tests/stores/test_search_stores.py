"""The same items searched in a real Weaviate and in a real PostgreSQL with pgvector."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Opsctl
from tests.stores.minilm import model_folder
from tests.stores.postgres_server import PostgresServer
from tests.stores.weaviate_server import WeaviateServer, weaviate

from opsctl.jobs.search import search
from opsctl.model.cancel import Cancel
from opsctl.model.collections import Collection, Property, Tenants, Vector
from opsctl.model.embedding import label
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.migrate import Item
from opsctl.model.search import Question, SearchReport
from opsctl.model.vector_object import VectorObject
from opsctl.stores.embedding import MiniLM
from opsctl.stores.postgres_memory import PostgresMemory
from opsctl.stores.postgres_search import PostgresSearch
from opsctl.stores.weaviate_collections import WeaviateCollections
from opsctl.stores.weaviate_search import WeaviateSearch
from opsctl.stores.weaviate_sink import WeaviateSink

__all__ = ["weaviate"]

TEXTS = {
    "20260101": ["a cat sleeps on the keyboard", "the droplet ran out of memory"],
    "20260102": ["we raised the memory limit of rag-context to 400 MB", "invoice 4711 was paid"],
    "20260103": ["she drinks tea in the afternoon"],
}


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(model_folder())


@pytest.fixture(scope="module")
def items(model: MiniLM) -> list[Item]:
    pairs = [(day, text) for day, texts in TEXTS.items() for text in texts]
    vectors = model.embed([text for _, text in pairs], Cancel())
    found = []
    for (day, text), vector in zip(pairs, vectors, strict=True):
        body = VectorObject({"text": text, "speaker": "agent"}, {"minilm": vector})
        name = str(uuid.uuid5(uuid.NAMESPACE_DNS, text))
        found.append(Item(text.encode(), name, body, body.digest(["minilm"]), body.size, day))
    return found


@pytest.fixture(scope="module")
def collection(weaviate: WeaviateServer, items: list[Item]) -> Iterator[str]:
    name = f"Search{uuid.uuid4().hex[:8]}"
    properties = {each: Property(each, "text", searchable=True) for each in ("text", "speaker")}
    vectors = {"minilm": Vector("minilm", 384), "other": Vector("other", 8)}
    server = WeaviateCollections(weaviate.target)
    server.create(Collection(name, properties=properties, vectors=vectors, tenants=Tenants()), Cancel())
    sink = WeaviateSink(weaviate.target, name, vectors=["minilm"])
    sink.prepare(TEXTS, Cancel())
    assert list(sink.write(items, Cancel())) == []
    yield name
    sink.close()
    server.close()


@pytest.fixture
def table(postgres: PostgresServer, items: list[Item], model: MiniLM, collection: str) -> Iterator[str]:
    postgres.sql("DROP TABLE IF EXISTS opsctl_memory")
    sink = PostgresMemory(postgres.target, collection, "minilm", model=lambda: label(model.describe()))
    assert list(sink.write(items, Cancel())) == []
    yield collection
    sink.close()
    postgres.sql("DROP TABLE IF EXISTS opsctl_memory")


class Both:
    """Either store, asked by the same job."""

    def __init__(self, weaviate: WeaviateServer, postgres: PostgresServer, model: MiniLM) -> None:
        self.weaviate, self.postgres, self.model = weaviate, postgres, model

    def ask(self, where: str, question: Question) -> SearchReport:
        if where == "weaviate":
            first = WeaviateSearch(self.weaviate.target, patience=5)
            return search(question, self.model, first=lambda: first, fallback=None, within=5, cancel=Cancel())
        second = PostgresSearch(self.postgres.target, model=lambda: label(self.model.describe()), patience=5)
        return search(question, self.model, first=None, fallback=lambda: second, within=5, cancel=Cancel())


@pytest.fixture
def both(weaviate: WeaviateServer, postgres: PostgresServer, model: MiniLM, table: str) -> Both:
    return Both(weaviate, postgres, model)


@pytest.mark.parametrize("where", ["weaviate", "postgres"])
def test_meaning_and_words_over_all_days(both: Both, table: str, where: str) -> None:
    report = both.ask(where, Question("feline animal", table))
    assert report.answer.hits[0].text == TEXTS["20260101"][0]
    assert report.answer.how == "vector and words"
    words = both.ask(where, Question("4711", table))
    assert words.answer.hits[0].text == "invoice 4711 was paid"
    assert words.answer.hits[0].words is not None
    assert words.answer.hits[0].properties["speaker"] == "agent"


@pytest.mark.parametrize("where", ["weaviate", "postgres"])
def test_only_the_days_that_are_named_or_the_newest(both: Both, table: str, where: str) -> None:
    named = both.ask(where, Question("memory", table, tenants=("20260102",)))
    assert {each.tenant for each in named.answer.hits} == {"20260102"}
    newest = both.ask(where, Question("memory", table, days=2))
    assert newest.answer.tenants == ("20260103", "20260102")
    assert len(both.ask(where, Question("memory", table, limit=1)).answer.hits) == 1


def test_nearness_is_the_same_in_both(both: Both, table: str) -> None:
    found = [both.ask(where, Question("a pet", table)).answer.hits for where in ("weaviate", "postgres")]
    near = [{each.id: each.nearness for each in hits} for hits in found]
    assert near[0] == pytest.approx(near[1], abs=1e-4)


@pytest.mark.parametrize("text", ["", "'; DROP", "the", "a & | ! ( b", "\0", "漢字 🙂", "x" * 20_000])
@pytest.mark.parametrize("where", ["weaviate", "postgres"])
def test_any_text_can_be_looked_for(both: Both, table: str, where: str, text: str) -> None:
    assert len(both.ask(where, Question(text, table)).answer.hits) <= 10


def test_vectors_of_another_model_are_not_compared(both: Both, table: str, postgres: PostgresServer) -> None:
    postgres.sql("UPDATE opsctl_memory SET model = 'another'")
    report = both.ask("postgres", Question("memory", table))
    assert all(each.nearness is None for each in report.answer.hits)
    assert len(report.answer.hits) == 2


def test_an_empty_fallback_says_so(both: Both, postgres: PostgresServer) -> None:
    assert both.ask("postgres", Question("memory", "Nothing")).fallback == "empty"
    postgres.sql("DROP TABLE opsctl_memory")
    assert both.ask("postgres", Question("memory", "Nothing")).fallback == "empty"


def test_what_is_not_there_is_named(both: Both, table: str, weaviate: WeaviateServer) -> None:
    with pytest.raises(ConfigError, match="no collection Nothing"):
        both.ask("weaviate", Question("x", "Nothing"))
    with pytest.raises(UsageError, match="has no 20300101"):
        both.ask("weaviate", Question("x", table, tenants=("20300101",)))
    store = WeaviateSearch(weaviate.target, vector="none", patience=5)
    with pytest.raises(UsageError, match="there is no vector none"):
        store.scope(Question("x", table), Cancel())


def test_days_at_rest_are_left_out_unless_named(both: Both, table: str, weaviate: WeaviateServer) -> None:
    server = WeaviateCollections(weaviate.target)
    server.set_tenants(table, {"20260103": "INACTIVE"}, Cancel())
    try:
        report = both.ask("weaviate", Question("tea", table))
        assert report.answer.tenants == ("20260102", "20260101")
        assert "at rest" in report.answer.notes[0]
        named = both.ask("weaviate", Question("tea", table, tenants=("20260103",)))
        assert named.answer.hits[0].text == "she drinks tea in the afternoon"
    finally:
        server.set_tenants(table, {"20260103": "ACTIVE"}, Cancel())
        server.close()


def test_the_command_falls_back_and_says_so(
    both: Both, table: str, weaviate: WeaviateServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    entry = {"weaviate": weaviate.url, "grpc_port": weaviate.grpc_port}
    stores = {"vectors": entry, "archive": {"postgres": postgres.url}}
    (tmp_path / "opsctl.yaml").write_text(json.dumps({"version": 1, "stores": stores}))
    opsctl = Opsctl({"OPSCTL_MODEL": str(model_folder())}, tmp_path)
    done = opsctl("search", "feline animal", "--collection", table, "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert "Weaviate" in done.stdout
    assert "a cat sleeps" in done.stdout
    away = opsctl("search", "feline animal", "--collection", table, "--in", "http://127.0.0.1:1", "--within", "300ms")
    assert away.returncode == 0, away.stderr
    assert "the fallback answers" in away.stderr
    assert "a cat sleeps" in away.stdout
    alone = opsctl.json(
        "search", "cat", "--collection", table, "--in", "http://127.0.0.1:1", "--fallback", "none", "--within", "300ms"
    )
    assert (alone["exit_code"], alone["error"]["code"]) == (4, "no-search")
