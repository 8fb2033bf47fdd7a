"""The points and settings of the stand-in for a Qdrant server: the vendor's own local engine, and what it forgets.

Cosine collections keep their vectors as a server does: normalised when they come in, left alone where they already are.
"""

from __future__ import annotations

import threading
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json
from qdrant_client import QdrantClient, models
from qdrant_client.local.local_collection import LocalCollection
from qdrant_client.local.utils import normalize_point_id

HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
}
WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
SHARDS = {"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1, "on_disk_payload": True}


class Refused(Exception):
    """What the server answers with: status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def unit(vector: Any) -> Any:
    """Cosine vectors as a server keeps them: zero and unit vectors as they are, others divided by their length."""
    array = np.asarray(vector, dtype=np.float32)
    squares = np.sum(array * array, axis=-1, keepdims=True)
    keep = (squares < np.finfo(np.float32).eps) | (np.abs(squares - 1) <= 1e-6)
    return np.where(keep, array, array / np.where(keep, 1, np.sqrt(squares))).tolist()


def chance(point: Any, share: float) -> bool:
    """The same answer for the same id, for about this share of ids."""
    return zlib.crc32(str(point).encode()) % 10_000 < share * 10_000


def shown(record: models.Record) -> dict[str, Any]:
    """A point as a server prints it: what there is not is left out."""
    point = {"id": record.id, "payload": record.payload, "vector": record.vector}
    return {key: value for key, value in point.items() if value is not None}


def whole(body: dict[str, Any]) -> bool:
    """Whether points are asked for with all they have."""
    return body.get("with_payload", True) is True and body.get("with_vector") is True and not body.get("order_by")


def order(point: int | str) -> tuple[str, int]:
    """Numbers before UUIDs, as in a server."""
    return (point, 0) if isinstance(point, str) else ("", point)


class Engine:
    """The collections: the vendor's engine keeps the points, this keeps what the engine forgets of their settings."""

    def __init__(self, folder: str | None) -> None:
        self.lock = threading.RLock()
        self.faults: dict[str, float] = {}
        self.book = Path(folder) / "standin.json" if folder else None
        self.client = QdrantClient(path=folder) if folder else QdrantClient(":memory:")
        known = self.book is not None and self.book.exists()
        self.kept: dict[str, Any] = from_json(self.book.read_bytes()) if self.book and known else {}
        self.aliases: dict[str, str] = self.kept.pop("aliases", {})
        for name in self.kept:
            self._relaxed(name)

    def save(self) -> None:
        if self.book is not None:
            new = self.book.with_suffix(".new")
            new.write_bytes(to_json({**self.kept, "aliases": self.aliases}))
            new.replace(self.book)

    def _relaxed(self, name: str) -> None:
        """A commit a point would wait for the disk each time; what was written survives a kill without that."""
        storage = self._collection(name).storage
        if storage is not None:
            storage.storage.execute("PRAGMA synchronous=OFF")

    def of(self, name: str) -> tuple[str, dict[str, Any]]:
        name = self.aliases.get(name, name)
        if name not in self.kept:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return name, self.kept[name]

    def cosine(self, name: str) -> set[str]:
        vectors = self.kept[name]["config"].get("vectors") or {}
        params = {"": vectors} if "size" in vectors else vectors
        return {each for each, of in params.items() if of["distance"] == "Cosine"}

    def create(self, name: str, body: dict[str, Any]) -> bool:
        if name in self.kept:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        wanted = models.CreateCollection.model_validate(body)
        plain = wanted.vectors if isinstance(wanted.vectors, dict) else {"": wanted.vectors} if wanted.vectors else {}
        for params in plain.values():  # see `unit`: from then on cosine is the dot product
            if params.distance is models.Distance.COSINE:
                params.distance = models.Distance.DOT
        self.client.create_collection(name, wanted.vectors, wanted.sparse_vectors)
        self.kept[name] = {"config": body, "indexes": {}}
        self._relaxed(name)
        self.save()
        return True

    def update(self, name: str, body: dict[str, Any]) -> bool:
        name, kept = self.of(name)
        models.UpdateCollection.model_validate(body)
        for key, value in {**body.pop("params", {}), **body}.items():
            old = kept["config"].get(key)
            kept["config"][key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        self.save()
        return True

    def delete(self, name: str) -> bool:
        there = self.kept.pop(name, None) is not None
        if there:
            self.client.delete_collection(name)
            self.aliases = {alias: of for alias, of in self.aliases.items() if of != name}
            self.save()
        return there

    def info(self, name: str) -> dict[str, Any]:
        name, kept = self.of(name)
        body = kept["config"]
        params = {key: body[key] for key in ("vectors", "sparse_vectors", "sharding_method") if body.get(key)}
        params |= {key: body.get(key) or default for key, default in SHARDS.items()}
        schema = {
            field: {"data_type": of if isinstance(of, str) else of["type"], "points": self.count(name, {})}
            | ({} if isinstance(of, str) else {"params": of})
            for field, of in kept["indexes"].items()
        }
        config = {
            "params": params,
            "hnsw_config": HNSW | (body.get("hnsw_config") or {}),
            "optimizer_config": OPTIMIZERS | (body.get("optimizers_config") or {}),
            "wal_config": WAL | (body.get("wal_config") or {}),
            "quantization_config": body.get("quantization_config"),
        }
        config |= {key: body[key] for key in ("strict_mode_config", "metadata") if body.get(key)}
        counts = {"points_count": self.count(name, {}), "indexed_vectors_count": 0, "segments_count": 1}
        return {"status": "green", "optimizer_status": "ok", **counts, "config": config, "payload_schema": schema}

    def strict(self, name: str, limit: str, asked: int) -> None:
        mode = self.kept[name]["config"].get("strict_mode_config") or {}
        if mode.get("enabled") and mode.get(limit) is not None and asked > mode[limit]:
            raise Refused(400, f"Bad request: Limit exceeded {asked} > {mode[limit]} for {limit!r}")

    def count(self, name: str, body: dict[str, Any]) -> int:
        name, _ = self.of(name)
        chosen = models.Filter.model_validate(body["filter"]) if body.get("filter") else None
        return self.client.count(name, chosen).count

    def upsert(self, name: str, points: list[dict[str, Any]]) -> None:
        name, _ = self.of(name)
        self.strict(name, "upsert_max_batchsize", len(points))
        cosine = self.cosine(name)
        with self.lock:
            self.client.upsert(name, [self._point(each, cosine) for each in points])

    def _point(self, point: dict[str, Any], cosine: set[str]) -> models.PointStruct:
        if unknown := set(point) - {"id", "vector", "payload", "shard_key"}:
            raise Refused(400, f"Format error in JSON body: unknown field `{unknown.pop()}`")
        if chance(point["id"], self.faults.get("refuse", 0)):
            raise Refused(400, f"Wrong input: point {point['id']} is not wanted here")
        vector = point["vector"]
        if isinstance(vector, dict):
            vector = {
                key: models.SparseVector(**of) if isinstance(of, dict) else unit(of) if key in cosine else of
                for key, of in vector.items()
            }
        elif "" in cosine:
            vector = unit(vector)
        if isinstance(vector, list) and chance(point["id"], self.faults.get("spoil", 0)):
            vector = [*vector[:-1], vector[-1] + 1.0]
        return models.PointStruct.model_construct(id=point["id"], vector=vector, payload=point.get("payload"))

    def query(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        name, _ = self.of(name)
        asked = models.QueryRequest.model_validate(body)
        query = asked.query.nearest if isinstance(asked.query, models.NearestQuery) else asked.query
        if isinstance(query, list) and (asked.using or "") in self.cosine(name):
            query = unit(query)
        found = self.client.query_points(
            name,
            query,
            using=asked.using,
            query_filter=asked.filter,
            limit=asked.limit or 10,
            with_payload=asked.with_payload or False,
            with_vectors=asked.with_vector or False,
        )
        return {"points": found.points}

    def scroll(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        name, _ = self.of(name)
        limit = body.get("limit") or 10
        self.strict(name, "max_query_limit", limit)
        if whole(body) and not body.get("filter"):
            ids = sorted(self._collection(name).ids, key=order)
            begin = bisect_left(ids, order(body["offset"]), key=order) if body.get("offset") is not None else 0
            found = self._points(name, ids[begin:], limit + 1)
            following = found[limit]["id"] if len(found) > limit else None
            return {"points": found[:limit], "next_page_offset": following}
        records, after = self.client.scroll(
            name,
            models.Filter.model_validate(body["filter"]) if body.get("filter") else None,
            limit=limit,
            offset=body.get("offset"),
            with_payload=body.get("with_payload", True),
            with_vectors=body.get("with_vector", False),
        )
        return {"points": [shown(each) for each in records], "next_page_offset": after}

    def retrieve(self, name: str, body: dict[str, Any]) -> Any:
        name, _ = self.of(name)
        if whole(body):
            return self._points(name, [normalize_point_id(each) for each in body["ids"]], len(body["ids"]))
        payload, vectors = body.get("with_payload", True), body.get("with_vector", False)
        return [shown(each) for each in self.client.retrieve(name, body["ids"], payload, vectors)]

    def _collection(self, name: str) -> LocalCollection:
        found: LocalCollection = self.client._client.collections[name]  # type: ignore[attr-defined]
        return found

    def _points(self, name: str, ids: Sequence[int | str], most: int) -> list[dict[str, Any]]:
        """Whole points, without the engine's models around them, which take longer than all the rest."""
        collection, found = self._collection(name), list[dict[str, Any]]()
        for each in ids:
            index = collection.ids.get(each)
            if index is not None and not collection.deleted[index]:
                vector = collection._get_vectors(index, True)
                found.append({"id": each, "payload": collection._get_payload(index, True, False), "vector": vector})
                if len(found) == most:
                    break
        return found

    def remove(self, name: str, body: dict[str, Any]) -> None:
        name, _ = self.of(name)
        ids, chosen = body.get("points"), body.get("filter")
        self.client.delete(name, ids if ids is not None else models.Filter.model_validate(chosen))

    def rename(self, body: dict[str, Any]) -> bool:
        for action in body["actions"]:
            if made := action.get("create_alias"):
                self.aliases[made["alias_name"]] = self.of(made["collection_name"])[0]
            elif gone := action.get("delete_alias"):
                self.aliases.pop(gone["alias_name"], None)
        self.save()
        return True
