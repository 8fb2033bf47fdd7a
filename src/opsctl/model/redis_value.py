"""What a key of a Redis holds, flat and of every type alike; when two of them are the same; and as JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any, Literal

from pydantic_core import to_json as to_json_bytes

from opsctl.model.migrate import DIGEST_SIZE, Record, digest

Kind = Literal["string", "hash", "list", "set", "zset", "stream"]
KINDS: tuple[Kind, ...] = ("string", "hash", "list", "set", "zset", "stream")
_MARK = "base64:"
_QUOTED_MARK = f'"{_MARK}'
_quoted = encode_basestring_ascii
_Order = Callable[[Sequence[bytes]], Sequence[bytes]]
_STRING = len(b"string").to_bytes(8, "big") + b"string"
_HASH = len(b"hash").to_bytes(8, "big") + b"hash"
_LENGTHS = tuple(size.to_bytes(8, "big") for size in range(1024))  # looked up faster than made


@dataclass(frozen=True, slots=True)
class Held:
    """A key's content. `parts`: the string; fields and values in turn; elements; members and scores in turn; of a
    stream's entries each id, the number of what follows, fields and values.

    `dump` is the server's own form of it, which other versions may not take; b"" where it is not needed or not known.
    `ends` is when it expires, in milliseconds since 1970.
    """

    kind: Kind
    parts: tuple[bytes, ...]
    dump: bytes = b""
    ends: int | None = None

    @property
    def digest(self) -> bytes:
        """Of type and content; the same on every server and whatever order it happens to have its fields in."""
        return content_digest(self.kind, self.parts)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.parts))


def content_digest(kind: str, parts: Sequence[bytes]) -> bytes:
    """The digest of a key's content: order counts where it does for the type."""
    match kind:
        case "hash":
            return digest(b"hash", *(each for pair in sorted(_pairs(parts)) for each in pair))
        case "set":
            return digest(b"set", *sorted(parts))
        case "zset":
            # Servers write the same score in more than one way.
            scored = sorted((member, repr(float(score)).encode()) for member, score in _pairs(parts))
            return digest(b"zset", *(each for pair in scored for each in pair))
    return digest(kind.encode(), *parts)


def string_digest(value: bytes) -> bytes:
    """`content_digest("string", (value,))`, three times as fast: there are millions of them."""
    return blake2b(_STRING + len(value).to_bytes(8, "big") + value, digest_size=DIGEST_SIZE).digest()


def fields_of(parts: Sequence[bytes]) -> tuple[dict[bytes, bytes], bytes]:
    """A hash's fields, and `content_digest("hash", parts)` in a fifth of the time: there are millions of them, and
    most have the same fields in the same order."""
    names, values = tuple(parts[::2]), parts[1::2]
    names, order, joined = _shape(names)
    fields = dict(zip(names, values, strict=True))
    if len(fields) != len(names):
        return fields, content_digest("hash", parts)
    if order is not None:
        values = order(values)
    data = joined.copy()
    try:
        data[1::3] = map(_LENGTHS.__getitem__, map(len, values))
    except IndexError:
        data[1::3] = [len(each).to_bytes(8, "big") for each in values]
    data[2::3] = values
    return fields, blake2b(b"".join(data), digest_size=DIGEST_SIZE).digest()


@lru_cache(256)
def _shape(names: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], _Order | None, list[bytes]]:
    """For hashes with these fields: the fields themselves, so that all share them; what puts their values into the
    fields' order; what is digested, with room for the length and the value behind each field."""
    order = sorted(range(len(names)), key=names.__getitem__)
    joined = [each for at in order for each in (len(names[at]).to_bytes(8, "big") + names[at], b"", b"")]
    joined[:1] = [_HASH + each for each in joined[:1]]
    return names, None if order == list(range(len(names))) else itemgetter(*order), joined


def held(record: Record, ends: int | None = None) -> Held:
    """What a source's record holds: strings come as bytes, hashes as a mapping, the rest as `Held` itself."""
    value = record.value
    if isinstance(value, Held):
        return Held(value.kind, value.parts, value.dump, ends)
    if isinstance(value, Mapping):
        return Held("hash", tuple(each for pair in value.items() for each in pair), ends=ends)
    return Held("string", (value,), ends=ends)


def key_id(key: bytes) -> str:
    """A key as text that can be turned back: itself, where it is text."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return _MARK + base64.b64encode(key).decode()
    return text if not text.startswith(_MARK) else _MARK + base64.b64encode(key).decode()


def id_key(text: str) -> bytes:
    """The key that `key_id` made a text of."""
    if not text.startswith(_MARK):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_MARK), validate=True)
    except binascii.Error:
        return text.encode()


def to_json(key: bytes, value: Held) -> dict[str, Any]:
    """A key and what it holds as JSON; text stays readable, the rest is base64."""
    dumped: dict[str, Any] = {"key": key_id(key), "kind": value.kind, "parts": [key_id(each) for each in value.parts]}
    if value.ends is not None:
        dumped["ends"] = value.ends
    if value.dump:
        dumped["dump"] = base64.b64encode(value.dump).decode()
    return dumped


def to_json_text(record: Record, ends: int | None = None) -> str | None:
    """`to_json` of a string or a hash as compact JSON, an encoder's work done by hand: there are millions of them.

    None where it takes more than that: another type, or what is no text.
    """
    value = record.value
    try:
        key = _quoted(record.key.decode())
        if isinstance(value, bytes):
            kind, inside = "string", _long_quoted(value.decode())
        elif type(value) is dict:
            kind, inside = "hash", ",".join(map(_quoted, map(bytes.decode, chain.from_iterable(value.items()))))
        else:
            return None
    except UnicodeDecodeError:
        return None
    if _QUOTED_MARK in inside or _QUOTED_MARK in key:
        return None
    end = "" if ends is None else f',"ends":{ends}'
    return f'{{"key":{key},"kind":"{kind}","parts":[{inside}]{end}}}'


def _long_quoted(text: str) -> str:
    """A text of kilobytes as JSON in ASCII: where it is ASCII already, in a quarter of the time."""
    return to_json_bytes(text).decode() if text.isascii() else _quoted(text)


def from_json(dumped: Mapping[str, Any]) -> tuple[bytes, Held]:
    """What `to_json` made. Raises ValueError for what it cannot have made."""
    kind, parts, ends = dumped.get("kind"), dumped.get("parts"), dumped.get("ends")
    if kind not in KINDS or not isinstance(parts, list) or not isinstance(dumped.get("key"), str):
        raise ValueError("not a key of a Redis")
    if not all(isinstance(each, str) for each in parts) or not (ends is None or isinstance(ends, int)):
        raise ValueError("not a key of a Redis")
    dump = base64.b64decode(str(dumped.get("dump", "")))
    return id_key(dumped["key"]), Held(kind, tuple(id_key(each) for each in parts), dump, ends)


def _pairs(parts: Sequence[bytes]) -> zip[tuple[bytes, bytes]]:
    return zip(parts[::2], parts[1::2], strict=True)
