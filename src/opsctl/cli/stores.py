"""The adapters of stores: beside `context.py` the one place where they are chosen and built.

One short function for each, with its import inside: what a command does not use is not loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.cli.reaching import Stores

if TYPE_CHECKING:
    from opsctl.model.cancel import Cancel
    from opsctl.model.collections import Summariser
    from opsctl.model.embedding import Embedder
    from opsctl.model.qdrant_collection import CollectionSpec
    from opsctl.model.rows import TableShape
    from opsctl.model.search import SearchStore
    from opsctl.model.secret import Secret
    from opsctl.model.store import Target
    from opsctl.stores.export_cipher import ExportCipher
    from opsctl.stores.json_file import JsonFile
    from opsctl.stores.postgres_memory import PostgresMemory
    from opsctl.stores.postgres_sink import PostgresSink
    from opsctl.stores.qdrant_folder import QdrantFolder
    from opsctl.stores.qdrant_sink import QdrantSink
    from opsctl.stores.qdrant_source import QdrantSource
    from opsctl.stores.redis_read import Reading
    from opsctl.stores.redis_sink import RedisSink
    from opsctl.stores.redis_source import RedisSource
    from opsctl.stores.weaviate_collections import WeaviateCollections
    from opsctl.stores.weaviate_sink import WeaviateSink

__all__ = ["Stores", "postgres_sink", "postgres_table", "qdrant_sink", "qdrant_source", "redis_source"]


def qdrant_source(target: Target, collections: Sequence[str]) -> QdrantSource | QdrantFolder:
    """Collections of a Qdrant server, or of a folder of the vendor's local mode; all of them where none is named."""
    if "://" in target.url.reveal():
        from opsctl.stores.qdrant_source import QdrantSource

        return QdrantSource(target, collections)
    from opsctl.stores.qdrant_folder import QdrantFolder

    return QdrantFolder(Path(target.url.reveal()), collections)


def qdrant_sink(target: Target, wanted: Callable[[Cancel], Mapping[str, CollectionSpec]]) -> QdrantSink:
    """A Qdrant server that gets collections like those wanted."""
    from opsctl.stores.qdrant_sink import QdrantSink

    return QdrantSink(target, wanted)


def redis_source(target: Target, match: str = "*", reading: Reading | None = None) -> RedisSource:
    """The keys of a Redis, Valkey or Dragonfly that a glob names."""
    from opsctl.stores.redis_source import RedisSource

    return RedisSource(target, match, reading)


def redis_reading(*, most: int) -> Reading:
    """Every type of key is read, with its dump; `most` in bytes a value."""
    from opsctl.stores.redis_read import Reading

    return Reading(most=most, whole=True)


def redis_sink(target: Target, *, keep: bool = False) -> RedisSink:
    """A Redis, Valkey, Dragonfly or a managed one; `keep`: what is there with another content is refused."""
    from opsctl.stores.redis_sink import RedisSink

    return RedisSink(target, keep=keep)


def redis_beginning(text: str) -> str:
    """A glob of Redis for a text as it is."""
    from opsctl.stores.redis_walk import literal

    return literal(text)


def json_file(target: Target, session: str = "", *, missing_ok: bool = False) -> JsonFile:
    """A file of sessions, or of the state of one."""
    from opsctl.stores.json_file import JsonFile

    return JsonFile(target, session, missing_ok=missing_ok)


def postgres_sink(target: Target, shape: TableShape) -> PostgresSink:
    """One table of a PostgreSQL, made when it is not there."""
    from opsctl.stores.postgres_sink import PostgresSink

    return PostgresSink(target, shape)


def postgres_memory(target: Target, collection: str, vector: str, model: Callable[[], str]) -> PostgresMemory:
    """The fallback table of one collection's memory items."""
    from opsctl.stores.postgres_memory import PostgresMemory

    return PostgresMemory(target, collection, vector, model=model)


def postgres_table(target: Target, table: str, cancel: Cancel) -> tuple[Mapping[str, str], bool]:
    """The columns of a table as they are, and whether opsctl made it."""
    from opsctl.stores.postgres_sink import live_table

    return live_table(target, table, cancel)


def weaviate_sink(
    target: Target, collection: str, *, vectors: Sequence[str], widths: Mapping[str, int], clinical: bool
) -> WeaviateSink:
    """A collection of a Weaviate server; the vectors that the items bring, and their declared widths."""
    from opsctl.stores.weaviate_sink import WeaviateSink

    return WeaviateSink(target, collection, vectors=vectors, widths=widths, clinical=clinical)


def weaviate_collections(target: Target) -> WeaviateCollections:
    """A Weaviate server as the jobs on its collections see it."""
    from opsctl.stores.weaviate_collections import WeaviateCollections

    return WeaviateCollections(target)


def summary_command(command: str, *, within: float) -> Summariser:
    """A shell command that makes a summary, within so many seconds."""
    from opsctl.stores.summaries import CommandSummary

    return CommandSummary(command, within=within)


def summary_url(url: str, *, token: Secret | None, within: float, private: bool) -> Summariser:
    """An endpoint that makes a summary; `private`: of our own network only."""
    from opsctl.stores.summaries import UrlSummary

    return UrlSummary(url, token=token, within=within, private=private)


def export_cipher(target: Target | None) -> ExportCipher | None:
    """What encrypts the export of a migration that reads from this store; None where it has no export_key."""
    if target is None or target.export_key is None:
        return None
    return cipher_of(target.export_key, target.store)


def cipher_of(key: Secret, store: str) -> ExportCipher:
    """What encrypts with the key of a store of the stack file. Raises ConfigError for one that is none."""
    from opsctl.stores.export_cipher import ExportCipher

    return ExportCipher(key, store)


def minilm(folder: Path | None) -> Embedder:
    """all-MiniLM-L6-v2, from a folder, $OPSCTL_MODEL or the cache; it is loaded when the first text comes."""
    from opsctl.stores.embedding import MiniLM

    given = os.environ.get("OPSCTL_MODEL")
    return MiniLM(folder or (Path(given).expanduser() if given else None))


def weaviate_search(target: Target, *, vector: str, patience: float) -> SearchStore:
    """Searches in a Weaviate."""
    from opsctl.stores.weaviate_search import WeaviateSearch

    return WeaviateSearch(target, vector=vector, patience=patience)


def postgres_search(target: Target, *, model: Callable[[], str], patience: float) -> SearchStore:
    """Searches in the fallback table."""
    from opsctl.stores.postgres_search import PostgresSearch

    return PostgresSearch(target, model=model, patience=patience)
