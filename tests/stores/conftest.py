"""Real servers for the tests of stores. More of them live beside this file, and are imported where they are needed."""

from __future__ import annotations

from tests.stores.postgres_server import postgres
from tests.stores.redis_server import each_at_rest, each_server, redis_at_rest, redis_server
from tests.stores.toxiproxy import toxiproxy_api

__all__ = ["each_at_rest", "each_server", "postgres", "redis_at_rest", "redis_server", "toxiproxy_api"]
