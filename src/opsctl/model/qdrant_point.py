"""A Qdrant point: its key, when two of them are the same bit by bit, and how it is kept in a file."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Mapping
from typing import Any

from opsctl.model.migrate import digest

Point = Mapping[str, Any]  # as REST has it: id, payload, vector
_UNNAMED = ""
_payload = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


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
    found, size, _kept = examined(point)
    return found, size


def examined(point: Point) -> tuple[bytes, int, dict[str, Any]]:
    """The fingerprint, and the vectors as `dumped` writes them: in one go, for packing the numbers is most of both."""
    parts = [str(point["id"]).encode(), payload_text(point.get("payload"))]
    vectors, kept = vectors_of(point), {}
    for name in sorted(vectors):
        packed, kept[name] = _packed(vectors[name])
        parts += (name.encode(), *packed)
    return digest(*parts), sum(map(len, parts)), kept


def payload_text(payload: Any) -> bytes:
    """One text for equal payloads, whatever the order of their keys; none at all is an empty one."""
    return _payload(payload or {}).encode("utf-8", "surrogatepass")


def _packed(vector: Any) -> tuple[tuple[bytes, ...], dict[str, Any]]:
    """The kind of a vector and its numbers, little-endian; sparse ones by index. And how it is kept."""
    if isinstance(vector, dict):
        pairs = sorted(zip(vector["indices"], vector["values"], strict=True))
        packed = b"s", struct.pack(f"<{len(pairs)}I", *(i for i, _ in pairs)), _floats([v for _, v in pairs])
        return packed, {"indices": vector["indices"], "values": _base64(_floats(vector["values"]))}
    if vector and isinstance(vector[0], list):
        rows = [_floats(row) for row in vector]
        return (b"m", struct.pack("<I", len(vector)), *rows), {"rows": [_base64(row) for row in rows]}
    dense = _floats(vector)
    return (b"d", dense), {"dense": _base64(dense)}


def _floats(numbers: list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def dumped(collection: str, point: Point) -> dict[str, Any]:
    """The point for a JSON file: vectors as base64 of little-endian float32, which is exact and half as long."""
    vectors = point.get("kept") or examined(point)[2]
    return {"collection": collection, "id": point["id"], "payload": point.get("payload") or {}, "vectors": vectors}


def loaded(kept: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Collection and point of what `dumped` made."""
    vectors = {name: _unkept(each) for name, each in kept["vectors"].items()}
    vector = vectors[_UNNAMED] if set(vectors) == {_UNNAMED} else vectors
    return kept["collection"], {"id": kept["id"], "payload": kept["payload"], "vector": vector}


def _unkept(kept: Mapping[str, Any]) -> Any:
    if "dense" in kept:
        return _numbers(kept["dense"])
    if "rows" in kept:
        return [_numbers(row) for row in kept["rows"]]
    return {"indices": kept["indices"], "values": _numbers(kept["values"])}


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _numbers(text: str) -> list[float]:
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))
