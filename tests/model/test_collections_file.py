"""collections.yaml: what is shipped, and every mistake with its line and the word that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.model.collections_file import load_collections, read_collections
from opsctl.model.errors import ConfigError

HEAD = "version: 1\ncollections:\n"


def test_the_shipped_file_has_the_four_collections() -> None:
    declared = load_collections(None)
    assert list(declared.collections) == ["Personal", "PayReady", "ParagonRX", "Session"]
    have = {name: set(each.properties) for name, each in declared.collections.items()}
    assert {"owner", "tags", "timestamp"} <= have["Personal"]
    assert {"tenantId", "unitNumber", "status"} <= have["PayReady"]
    assert {"trialId", "patientId", "phase"} <= have["ParagonRX"]
    assert {"threadId", "speaker", "domain"} <= have["Session"]
    session = declared.collections["Session"]
    assert session.tenants is not None
    assert (session.tenants.create, session.tenants.activate, session.tenants.summary) == (True, True, "Personal")
    assert declared.collections["ParagonRX"].clinical
    for each in declared.collections.values():
        assert {name: (one.width, one.filter) for name, one in each.vectors.items()} == {"minilm": (384, "acorn")}
        assert any(one.searchable for one in each.properties.values()), "without it a hybrid search has half"


def test_a_file_beside_the_stack_file_hides_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "collections.yaml").write_text(f"{HEAD}  Notes: {{properties: {{text: text}}}}\n")
    assert list(load_collections(tmp_path).collections) == ["Notes"]
    other = tmp_path / "other.yaml"
    with pytest.raises(ConfigError, match=r"other\.yaml"):
        load_collections(tmp_path, other)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (f"{HEAD}  Session: {{tenants: day, propertys: {{}}}}", 3, 'did you mean "properties"'),
        (f"{HEAD}  Session:\n    tenants: week", 4, "'week' is not known"),
        (f"{HEAD}  session: {{}}", 3, "a capital first"),
        (f"{HEAD}  A:\n    properties:\n      text: txt", 5, 'did you mean "text"'),
        (f"{HEAD}  A:\n    properties:\n      id: text", 5, "a word of Weaviate's own"),
        (f"{HEAD}  A:\n    properties:\n      my-field: text", 5, "no name of a property"),
        (f"{HEAD}  A:\n    properties:\n      n: {{type: int, search: true}}", 5, "means nothing for int"),
        (f"{HEAD}  A:\n    properties:\n      n: {{type: text, range: true}}", 5, "means nothing for text"),
        (f"{HEAD}  A:\n    properties:\n      extra: int", 5, "holds JSON"),
        (f"{HEAD}  A:\n    vectors:\n      a-b: {{}}", 5, "no name of a vector"),
        (f"{HEAD}  A:\n    vectors:\n      v: {{width: 0}}", 5, "out of range"),
        (f"{HEAD}  A:\n    vectors:\n      v: {{distance: cosinus}}", 5, 'did you mean "cosine"'),
        (f"{HEAD}  A:\n    vectors:\n      v: {{index: flat, filter: acorn}}", 5, "no graph to walk"),
        (f"{HEAD}  A:\n    tenants: {{summary: Persnal}}\n  Personal: {{}}", 4, 'did you mean "Personal"'),
        (f"{HEAD}  A:\n    clinical: true\n    vectors:\n      v: {{vectorizer: text2vec-openai}}", 6, "third party"),
        (
            f"{HEAD}  A:\n    clinical: true\n    vectors:\n      v:\n        vectorizer: text2vec-ollama\n"
            "        settings: {apiEndpoint: 'https://api.example.com'}",
            8,
            "somebody else's machine",
        ),
        ("version: 2\ncollections: {}", 1, "is not known"),
        ("collections: {}", 1, "missing"),
        ("- a", 1, "not a list of collections"),
        ("a: [", 1, "not YAML"),
    ],
)
def test_every_mistake_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_collections(text, "collections.yaml")
    info = raised.value.info
    assert said in f"{info.what} {info.why}"
    assert (info.path, info.line or 0) == ("collections.yaml", line)
    assert "collections" in info.next


def test_a_clinical_vectorizer_of_ones_own_is_taken() -> None:
    text = (
        f"{HEAD}  A:\n    clinical: true\n    vectors:\n"
        "      v: {vectorizer: text2vec-ollama, settings: {apiEndpoint: 'http://ollama:11434'}}\n"
        "      w: {vectorizer: text2vec-transformers, settings: {inferenceUrl: 'http://10.0.0.3:8080'}}"
    )
    assert list(read_collections(text, "x").collections["A"].vectors) == ["v", "w"]
