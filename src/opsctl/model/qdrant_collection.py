"""The settings of a Qdrant collection: as they are asked for, and what differs from those of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# As a collection is created with them: its own name for each, and where its description has it.
_COPIED = {
    "vectors": ("params", "vectors"),
    "sparse_vectors": ("params", "sparse_vectors"),
    "shard_number": ("params", "shard_number"),
    "replication_factor": ("params", "replication_factor"),
    "write_consistency_factor": ("params", "write_consistency_factor"),
    "on_disk_payload": ("params", "on_disk_payload"),
    "hnsw_config": ("hnsw_config",),
    "optimizers_config": ("optimizer_config",),
    "quantization_config": ("quantization_config",),
    "metadata": ("metadata",),
}
# What its own server decides: a write-ahead log, limits, and settings that hide points until they are indexed.
_LEFT = {
    "wal_config": ("wal_config",),
    "strict_mode_config": ("strict_mode_config",),
    "read_fan_out_factor": ("params", "read_fan_out_factor"),
    "optimizers_config.prevent_unoptimized": ("optimizer_config", "prevent_unoptimized"),
}
# Stored with fewer digits than a float has: written a second time, a number may come back as its neighbour.
LOSSY = ("float16", "turbo4", "turbo8", "turbo16")


@dataclass(frozen=True)
class CollectionSpec:
    """One collection: its configuration as the server describes it, its payload indexes, who calls it otherwise."""

    name: str
    config: Mapping[str, Any]
    indexes: Mapping[str, Any] = field(default_factory=dict)  # field → its `params`, or the name of its type
    aliases: tuple[str, ...] = ()
    points: int = 0

    @classmethod
    def of(cls, name: str, info: Mapping[str, Any], aliases: tuple[str, ...] = ()) -> CollectionSpec:
        """From what the server says of it."""
        schema = info.get("payload_schema") or {}
        indexes = {each: of.get("params") or of["data_type"] for each, of in schema.items()}
        return cls(name, info["config"], indexes, aliases, info.get("points_count") or 0)

    def dense(self) -> Mapping[str, Mapping[str, Any]]:
        """The parameters of its dense and multi vectors by name; "" is the one without a name."""
        vectors = self._at("params", "vectors") or {}
        return {"": vectors} if "size" in vectors else vectors

    def sparse(self) -> Mapping[str, Mapping[str, Any]]:
        """The parameters of its sparse vectors by name."""
        return self._at("params", "sparse_vectors") or {}

    def strict(self, limit: str) -> int | None:
        """A limit of its strict mode, None without one."""
        mode = self.config.get("strict_mode_config") or {}
        value = mode.get(limit) if mode.get("enabled") else None
        return int(value) if value is not None else None

    def _at(self, *path: str) -> Any:
        value: Any = self.config
        for key in path:
            value = (value or {}).get(key)
        return value

    def create_body(self, *, peers: int = 1) -> dict[str, Any]:
        """What creates one like it on a cluster of so many peers."""
        body = {key: _without_none(self._at(*path)) for key, path in _COPIED.items()}
        body = {key: value for key, value in body.items() if value not in (None, {})}
        body.get("optimizers_config", {}).pop("prevent_unoptimized", None)
        for key in ("replication_factor", "write_consistency_factor"):
            if key in body:
                body[key] = min(body[key], peers)
        return body

    def left_out(self, *, peers: int = 1) -> Iterator[str]:
        """What a collection made by `create_body` will not have of this one, in words."""
        for key, path in _LEFT.items():
            if (value := _without_none(self._at(*path))) not in (None, {}, False) and key != "wal_config":
                yield f"{self.name}: {key} is not copied, the target decides it (here {_short(value)})"
        wanted = self._at("params", "replication_factor") or 1
        if wanted > peers:
            yield f"{self.name}: replication_factor {wanted} becomes {peers}, the target has as many peers"
        for name, of in self.dense().items():
            if of.get("datatype") in LOSSY and of.get("distance") == "Cosine":
                yield (
                    f"{self.name}: vector {name!r} is kept as {of['datatype']}: one that comes back by a digit"
                    " otherwise goes to quarantine"
                )


def summary(spec: CollectionSpec) -> str:
    """A collection in one line: points, vectors, indexes."""
    dense = [f"{name or 'vector'} {of['size']} {of['distance']}" for name, of in spec.dense().items()]
    sparse = [f"{name} sparse" for name in spec.sparse()]
    indexes = f", payload indexes {', '.join(sorted(spec.indexes))}" if spec.indexes else ""
    aliases = f", also called {', '.join(spec.aliases)}" if spec.aliases else ""
    return f"{spec.name}: {spec.points:,} points, {', '.join(dense + sparse) or 'no vectors'}{indexes}{aliases}"


def unfit(spec: CollectionSpec, there: CollectionSpec | None) -> Iterator[str]:
    """Why the points of a collection cannot go into that one, or into a new one like it (None), in words."""
    if (spec.config.get("params") or {}).get("sharding_method") == "custom":
        yield f"{spec.name}: it has shard keys of its own (sharding_method custom), which are not copied"
    if there is None:
        return
    for what, ours, theirs in (
        ("vector", spec.dense(), there.dense()),
        ("sparse vector", spec.sparse(), there.sparse()),
    ):
        for name in ours:
            if name not in theirs:
                yield f"{there.name}: the target has no {what} {name!r}"
                continue
            for key in ("size", "distance", "datatype", "multivector_config", "modifier"):
                mine, its = _plain(key, ours[name].get(key)), _plain(key, theirs[name].get(key))
                if mine != its:
                    yield f"{there.name}: {what} {name!r} has {key} {mine} here and {its} at the target"
    if (most := there.strict("max_points_count")) is not None and spec.points > most:
        yield f"{there.name}: {spec.points:,} points, and the target takes {most:,} (strict mode)"


def differing(spec: CollectionSpec, there: CollectionSpec) -> Iterator[str]:
    """Settings that a collection at the target has otherwise, in words; its points fit all the same."""
    for key, path in (_COPIED | _LEFT).items():
        if key in ("vectors", "sparse_vectors"):
            continue
        mine, its = _without_none(spec._at(*path)) or None, _without_none(there._at(*path)) or None
        if mine != its:
            yield f"{there.name}: {key} is {_short(its)} at the target, here {_short(mine)}"
    for name, of in spec.indexes.items():
        if name in there.indexes and _kind(there.indexes[name]) != _kind(of):
            yield f"{there.name}: the payload index of {name} is {_kind(there.indexes[name])} there, here {_kind(of)}"


def _kind(index: Any) -> str:
    return index if isinstance(index, str) else str(index.get("type"))


def _plain(key: str, value: Any) -> Any:
    return value or {"datatype": "float32", "modifier": "none"}.get(key)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: kept for key, of in value.items() if (kept := _without_none(of)) is not None}
    return value


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(of)}" for key, of in value.items())
    return str(value)
