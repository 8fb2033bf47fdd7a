"""Memory items from Redis or Dragonfly as objects of a vector collection: parsed, routed to their day, embedded."""

from __future__ import annotations

import hashlib
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, Protocol

from opsctl.jobs.memory_fields import VECTOR, Unfit, convert, fields_of, float32, leftover, names_for
from opsctl.model.cancel import Cancel
from opsctl.model.collections import EXTRA
from opsctl.model.embedding import Embedder
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.migrate import Item, Record, Rejected, Sink
from opsctl.model.stackfile_problem import nearest
from opsctl.model.units import show_duration
from opsctl.model.vector_object import Value, VectorObject, canonical, utc_text, uuid_text

KEY, TEXT, EXPIRES, WHEN = "key", "text", "expiresAt", "timestamp"
_NAMESPACE = uuid.NAMESPACE_DNS.bytes
_OWN = (KEY, EXTRA, EXPIRES)  # filled from the record itself, never from a field
Vectors = Literal["minilm", "precomputed", "server"]


@dataclass(frozen=True)
class Shape:
    """The collection the items go into: its properties with their types, whether each day has a tenant."""

    name: str
    properties: Mapping[str, str]
    by_day: bool
    widths: Mapping[str, int] = field(default_factory=dict)  # of its vectors, where they are known


class ShapedSink(Sink, Protocol):
    """A sink that can say which shape its collection has."""

    @property
    def widths(self) -> Mapping[str, int]:
        """How many numbers its vectors have, as far as it is known."""
        ...

    def shape(self, cancel: Cancel) -> tuple[Mapping[str, str], bool]:
        """The collection's properties with their types, and whether it has tenants."""
        ...


@dataclass(frozen=True)
class Choices:
    """How a person wants it. `fields` maps a property to the field it is read from; seconds for `skip_expiring`."""

    vector: str = "minilm"  # the named vector that is filled; "" with the server's own vectorizer
    vectors: Vectors = "minilm"
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skip_expiring: float | None = None


class MemoryItems:
    """The transform of dragonfly-to-weaviate.

    The id is uuid5 of the key in the DNS namespace, which is what Weaviate's client makes of a key, too. Raises
    ConfigError for a collection that could not keep everything an item has.
    """

    workers = 1  # Python's own work, or an embedder that uses all cores by itself

    def __init__(
        self,
        shape: Callable[[], Shape],
        choices: Choices,
        embedder: Embedder | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ask_shape = shape
        self._choices = choices
        self._embedder = embedder
        self._now = now
        given = choices.fields.get(choices.vector) or choices.fields.get("vector")
        self._vector_fields = tuple(given) if given else (*VECTOR, choices.vector)
        self._compared = (choices.vector,) if choices.vector else ()

    @cached_property
    def _shape(self) -> Shape:
        """Asked for at first use: whoever builds a transform need not be connected yet."""
        shape = self._ask_shape()
        _check_shape(shape, self._choices)
        return shape

    @cached_property
    def _names(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """For each property its type, and the fields it is looked for in."""
        every = self._shape.properties.items()
        return {prop: (kind, names_for(prop, self._choices.fields)) for prop, kind in every if prop not in _OWN}

    def describe(self) -> Mapping[str, Any]:
        """Model, width, mapping, and what becomes of TTLs."""
        shape = self._shape
        model = self._embedder.describe() if self._embedder else {}
        return {
            **model,
            "collection": shape.name,
            "vectors": self._choices.vectors,
            "vector": self._choices.vector,
            "tenant": "the item's own day in UTC, else the day it was first seen" if shape.by_day else "none",
            "id": "uuid5 of the key (DNS namespace)",
            "fields": {prop: ", ".join(names) for prop, (_, names) in self._names.items()},
            "others": f"kept as JSON in {EXTRA}",
            "ttl": self._ttl_promise(),
        }

    def _ttl_promise(self) -> str:
        skip = self._choices.skip_expiring
        left = f"items that expire within {show_duration(skip)} are left out; " if skip is not None else ""
        if EXPIRES in self._shape.properties:
            return f"{left}Weaviate does not expire objects: the time it would have expired is kept in {EXPIRES}"
        return f"{left}{self._shape.name} has no property {EXPIRES}: what would have expired stays for ever"

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        """One item or rejection a record, in order."""
        read = [self._fitting(self._read(record)) for record in records]
        if self._embedder is None:
            return [self._item(each, days) for each in read]
        wanted = [each for each in read if isinstance(each, _Read)]
        made = self._embedder.embed([each.text for each in wanted], cancel) if wanted else ()
        for each, vector in zip(wanted, made, strict=True):
            each.vectors[self._choices.vector] = bytes(vector)
        return [self._item(each, days) for each in read]

    def outline(
        self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel
    ) -> Sequence[Item | Rejected]:
        """As `apply`, without embedding: the groups and the rejections."""
        return [self._item(self._fitting(self._read(record)), days) for record in records]

    def _fitting(self, found: _Read | Rejected) -> _Read | Rejected:
        if isinstance(found, Rejected):
            return found
        for name, data in found.vectors.items():
            want, have = self._shape.widths.get(name), len(data) // 4
            if want is not None and want != have:
                reason = f"the vector {name} has {have} numbers, and {self._shape.name} keeps {want}"
                return Rejected(found.key, reason, "width")
        return found

    def close(self) -> None:
        """Free the model."""
        if self._embedder is not None:
            self._embedder.close()

    # One record

    def _read(self, record: Record) -> _Read | Rejected:
        try:
            skip = self._choices.skip_expiring
            if skip is not None and record.ttl is not None and record.ttl < skip:
                raise Unfit(f"it expires in {record.ttl:.0f} s", "expiring")
            fields = fields_of(record)
            found = _Read(record.key, fields)
            self._vector(found)
            self._properties(found, record)
            canonical(found.properties)
        except Unfit as error:
            return Rejected(record.key, str(error), error.code)
        except UnicodeEncodeError:
            return Rejected(record.key, "half of a surrogate pair in a text", "unicode")
        except ValueError as error:
            return Rejected(record.key, str(error)[:200], "unparsable")
        return found

    def _vector(self, found: _Read) -> None:
        name = next((each for each in self._vector_fields if each in found.fields), None)
        if self._choices.vectors != "precomputed":
            if name is not None and _is_vector(found.fields[name]):
                found.kept.add(name)  # made anew from the text; the export has the old one
            return
        if name is None:
            raise Unfit(f"no vector: none of the fields {', '.join(self._vector_fields)}", "no-vector")
        found.vectors[self._choices.vector] = float32(found.fields[name])
        found.kept.add(name)

    def _properties(self, found: _Read, record: Record) -> None:
        for prop, (kind, names) in self._names.items():
            self._property(found, prop, kind, names)
        text = found.properties.get(TEXT)
        if self._choices.vectors != "precomputed" and not (isinstance(text, str) and text.strip()):
            raise Unfit(f"no text: none of the fields {', '.join(self._names[TEXT][1])} has one", "no-text")
        found.text = text if isinstance(text, str) else ""
        if KEY in self._shape.properties:
            found.properties[KEY] = record.key.decode(errors="backslashreplace")
        if record.ttl is not None and EXPIRES in self._shape.properties:
            ends = math.ceil(self._now() + record.ttl)
            found.properties[EXPIRES] = utc_text(datetime.fromtimestamp(ends, UTC))
        rest = {name: value for name, value in found.fields.items() if name not in found.kept}
        if rest:
            found.properties[EXTRA] = leftover(rest)

    def _property(self, found: _Read, prop: str, kind: str, names: Sequence[str]) -> None:
        for name in names:
            value, inside = _look(found.fields, name)
            if value is None or value == "" or isinstance(value, bytes):
                continue
            made = convert(value, kind)
            if made is None:
                continue
            found.properties[prop] = made[0]
            if made[1] and not inside:
                found.kept.add(name)  # the property says it all
            return

    def _item(self, found: _Read | Rejected, days: Mapping[bytes, str]) -> Item | Rejected:
        if isinstance(found, Rejected):
            return found
        body = VectorObject(found.properties, found.vectors)
        written = found.properties.get(WHEN)
        undated, group = False, ""
        if self._shape.by_day and isinstance(written, str):
            group = f"{written[:4]}{written[5:7]}{written[8:10]}"  # as `utc_text` wrote it: yyyy-mm-dd…
        elif self._shape.by_day:
            undated, group = True, days.get(found.key, "")
        return Item(found.key, uuid5_of(found.key), body, body.digest(self._compared), body.size, group, undated)


@dataclass(slots=True)
class _Read:
    """An item half made."""

    key: bytes
    fields: dict[str, Any]
    properties: dict[str, Value] = field(default_factory=dict)
    vectors: dict[str, bytes] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # fields that are whole in a property or a vector
    text: str = ""


def _is_vector(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, list) and bool(value) and isinstance(value[0], int | float))


def _look(fields: Mapping[str, Any], name: str) -> tuple[Any, bool]:
    """A field of the item, else of the `metadata` in it; and whether it was inside."""
    if name in fields:
        return fields[name], False
    inner = fields.get("metadata")
    return (inner.get(name), True) if isinstance(inner, dict) else (None, False)


def uuid5_of(key: bytes) -> str:
    """uuid5 in the DNS namespace, of bytes: the same as of the text where they are UTF-8."""
    made = bytearray(hashlib.sha1(_NAMESPACE + key, usedforsecurity=False).digest()[:16])
    made[6] = made[6] & 0x0F | 0x50  # version and variant, RFC 9562
    made[8] = made[8] & 0x3F | 0x80
    return uuid_text(made)


def _check_shape(shape: Shape, choices: Choices) -> None:
    for name in choices.fields:
        if name not in shape.properties and name not in ("vector", choices.vector):
            near = nearest(name, shape.properties)
            raise UsageError(
                f"--field {name}=…: {shape.name} has no property {name}",
                why=f"it has {', '.join(shape.properties)}",
                next=f"--field {near or next(iter(shape.properties))}=FIELD",
            )
    for name in (TEXT, EXTRA):
        if shape.properties.get(name) != "text":
            why = "the text that is searched" if name == TEXT else "the fields that it has no property for"
            raise ConfigError(
                f"{shape.name} has no text property {name}",
                why=f"it would lose {why}",
                next="opsctl collections apply   (with the property in collections.yaml)",
            )
    if shape.by_day and shape.properties.get(WHEN) not in (None, "date"):
        raise ConfigError(
            f"{shape.name}.{WHEN} is {shape.properties[WHEN]}",
            why="a day's tenant is told from a date",
            next="opsctl migrate dragonfly-to-weaviate --collection Session",
        )
