"""What a store's URL says, and whether it would travel in the clear."""

from __future__ import annotations

import pytest

from opsctl.model.secret import Secret
from opsctl.model.store import StoreKind
from opsctl.model.store_url import parse_store, replaced, with_tls

ALL: tuple[StoreKind, ...] = ("redis", "postgres", "weaviate", "qdrant")


@pytest.mark.parametrize(
    ("text", "kind", "shown", "encrypted", "loopback"),
    [
        ("redis://u:hunter2@db:6380/3", "redis", "db:6380/3", False, False),
        ("redis://localhost", "redis", "localhost:6379/0", False, True),
        ("redis://[::1]?db=2", "redis", "[::1]:6379/2", False, True),
        ("rediss://db.example.com", "redis", "db.example.com:6379/0", True, False),
        ("postgresql://app:hunter2@db/app?sslmode=verify-full", "postgres", "db:5432/app", True, False),
        ("postgresql://app@db/app?sslmode=prefer", "postgres", "db:5432/app", False, False),
        ("postgresql:///app", "postgres", ":5432/app", False, True),
        ("http://127.9.9.9:8080/", "weaviate", "127.9.9.9:8080", False, True),
        ("https://x.weaviate.cloud", "weaviate", "x.weaviate.cloud:443", True, False),
    ],
)
def test_a_url_is_taken_apart(text: str, kind: str, shown: str, encrypted: bool, loopback: bool) -> None:
    url = parse_store(Secret(text), ALL)
    assert (url.kind, url.shown, url.encrypted, url.loopback) == (kind, shown, encrypted, loopback)
    assert "hunter2" not in repr(url)


def test_http_is_whatever_the_command_takes() -> None:
    assert parse_store(Secret("https://x:6333"), ("qdrant",)).kind == "qdrant"
    assert parse_store(Secret("https://x"), ("qdrant",)).port == 6333


def test_a_path_is_a_file_only_where_one_is_taken() -> None:
    assert parse_store(Secret("graph_state.json"), ("json",)).path == "graph_state.json"
    assert parse_store(Secret("file:///srv/qdrant"), ("qdrant",)).scheme == "file"
    with pytest.raises(ValueError, match="no URL"):
        parse_store(Secret("graph_state.json"), ("redis",))


@pytest.mark.parametrize("text", ["mysql://u:hunter2@h", "redis://:hunter2@", "redis://u:hunter2@h:port"])
def test_a_message_never_repeats_what_was_given(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_store(Secret(text), ALL)
    assert "hunter2" not in str(caught.value)


def test_a_forwarded_url_keeps_user_password_and_path() -> None:
    url = parse_store(Secret("redis://u:p%40ss@dragonfly:6379/3"), ALL)
    assert replaced(url, "127.0.0.1", 41000).reveal() == "redis://u:p%40ss@127.0.0.1:41000/3"


def test_a_forwarded_postgres_keeps_the_name_of_its_certificate() -> None:
    url = parse_store(Secret("postgresql://app@db.example.com/app?sslmode=verify-full"), ALL)
    assert (
        replaced(url, "127.0.0.1", 41000).reveal()
        == "postgresql://app@db.example.com:41000/app?sslmode=verify-full&hostaddr=127.0.0.1"
    )


def test_a_postgres_that_says_nothing_of_tls_is_asked_for_with_it() -> None:
    assert with_tls(parse_store(Secret("postgresql://db/app"), ALL)).reveal() == "postgresql://db/app?sslmode=require"
