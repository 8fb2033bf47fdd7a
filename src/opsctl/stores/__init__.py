"""Postgres, Redis, Qdrant, Weaviate and files as sources, sinks and probes."""
