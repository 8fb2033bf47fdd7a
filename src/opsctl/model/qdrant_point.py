"""A Qdrant point: its key, when two of them are the same bit by bit, and how it is kept in a file."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any

from opsctl.model.migrate import digest

Point = Mapping[str, Any]  # as REST has it: id, payload, vector
_UNNAMED = ""


def key_of(collection: str, point: int | str) -> bytes:
    """The key of a point among all collections of a server."""
    return f"{collection}:{point}".encode()


def split_key(key: bytes) -> tuple[str, str]:
    """Collection and id of a key; an id has no colon, a collection's name may."""
    collection, _, point = key.decode().rpartition(":")
    return collection, point


def id_of(text: str) -> int | str:
    """The id as the server knows it: a whole number, or a UUID."""
    return int(text) if text.isdigit() else text


def vectors_of(point: Point) -> Mapping[str, Any]:
    """The point's vectors by name; "" names the one of a collection that has no names."""
    vector = point.get("vector")
    if vector is None:
        return {}
    return vector if isinstance(vector, dict) else {_UNNAMED: vector}


def fingerprint(point: Point) -> tuple[bytes, int]:
    """Digest and size in bytes, of payload as JSON and vectors as float32: what a server stores, no less.

    The digest is equal for equal id, payload and vectors, bit by bit, whatever the order of keys.
    """
    parts = [str(point["id"]).encode(), payload_text(point.get("payload"))]
    vectors = vectors_of(point)
    for name in sorted(vectors):
        parts += (name.encode(), *_packed(vectors[name]))
    return digest(*parts), sum(map(len, parts))


def payload_text(payload: Any) -> bytes:
    """One text for equal payloads, whatever the order of their keys; none at all is an empty one."""
    return json.dumps(payload or {}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _packed(vector: Any) -> tuple[bytes, ...]:
    """The kind of a vector and its numbers, little-endian; sparse ones by index."""
    if isinstance(vector, dict):
        pairs = sorted(zip(vector["indices"], vector["values"], strict=True))
        return b"s", struct.pack(f"<{len(pairs)}I", *(i for i, _ in pairs)), _floats([v for _, v in pairs])
    if vector and isinstance(vector[0], list):
        return b"m", struct.pack("<I", len(vector)), *(_floats(row) for row in vector)
    return b"d", _floats(vector)


def _floats(numbers: list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def dumped(collection: str, point: Point) -> dict[str, Any]:
    """The point for a JSON file: vectors as base64 of little-endian float32, which is exact and half as long."""
    vectors = point.get("kept") or kept_vectors(point)
    return {"collection": collection, "id": point["id"], "payload": point.get("payload") or {}, "vectors": vectors}


def loaded(kept: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Collection and point of what `dumped` made."""
    vectors = {name: _unkept(each) for name, each in kept["vectors"].items()}
    vector = vectors[_UNNAMED] if set(vectors) == {_UNNAMED} else vectors
    return kept["collection"], {"id": kept["id"], "payload": kept["payload"], "vector": vector}


def kept_vectors(point: Point) -> dict[str, Any]:
    """The point's vectors as `dumped` writes them."""
    return {name: _kept(vector) for name, vector in vectors_of(point).items()}


def _kept(vector: Any) -> dict[str, Any]:
    if isinstance(vector, dict):
        return {"indices": vector["indices"], "values": _base64(vector["values"])}
    if vector and isinstance(vector[0], list):
        return {"rows": [_base64(row) for row in vector]}
    return {"dense": _base64(vector)}


def _unkept(kept: Mapping[str, Any]) -> Any:
    if "dense" in kept:
        return _numbers(kept["dense"])
    if "rows" in kept:
        return [_numbers(row) for row in kept["rows"]]
    return {"indices": kept["indices"], "values": _numbers(kept["values"])}


def _base64(numbers: list[float]) -> str:
    return base64.b64encode(_floats(numbers)).decode()


def _numbers(text: str) -> list[float]:
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))
