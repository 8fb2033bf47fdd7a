"""Every migration: the module of its command, what it moves from and to, and what it needs on a droplet."""

from __future__ import annotations

from typing import NamedTuple

_REDIS = ("redis", "hiredis")
_WEAVIATE = ("weaviate-client",)
_POSTGRES = ("psycopg", "psycopg-binary")
_QDRANT = ("qdrant-client",)
EMBEDDING = ("onnxruntime", "tokenizers", "numpy")  # of the extra `embed`: carried where this machine has it

ENCRYPTING = ("cryptography",)  # carried where a store has an export_key


class Kind(NamedTuple):
    """A migration: the module of its command, and what it moves from and to."""

    name: str
    module: str
    source: str
    sink: str
    help: str
    packages: tuple[str, ...] = ()  # what it imports beyond what every command on a droplet does


MIGRATIONS = (
    Kind(
        "dragonfly-to-weaviate",
        "migrate_dragonfly_to_weaviate",
        "redis",
        "weaviate",
        "Memory items, embedded.",
        (*_REDIS, *_WEAVIATE),
    ),
    Kind(
        "qdrant-to-cloud",
        "migrate_qdrant_to_cloud",
        "qdrant",
        "qdrant",
        "Collections with points and indexes.",
        _QDRANT,
    ),
    Kind(
        "redis-to-postgres",
        "migrate_redis_to_postgres",
        "redis",
        "postgres",
        "Hashes into a table, types inferred.",
        (*_REDIS, *_POSTGRES),
    ),
    Kind("state-to-redis", "migrate_state_to_redis", "json", "redis", "A state file into sessions, and back.", _REDIS),
    Kind("redis-to-managed", "migrate_redis_to_managed", "redis", "redis", "Every key with its TTL.", _REDIS),
    Kind("volumes-to-host", "migrate_volumes_to_host", "volume", "path", "Named volumes to host paths, and back."),
)
