"""Weaviate's gRPC side, with the stubs its client ships: batches in, objects by id out, bytes as they are stored.

The client's own `insert_many` sends the same request. It is not used for bulk: it turns each vector into a list of
Python numbers and back, and its retries sleep where no Ctrl-C reaches them.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError
from opsctl.model.store import Target
from opsctl.model.vector_object import Value, VectorObject, same_date, uuid_text
from opsctl.stores.weaviate_rest import DEFAULT, grpc_address
from opsctl.stores.weaviate_retry import PATIENCE, Passing, look_at, passes, patiently
from opsctl.stores.weaviate_stubs import stub_class

if TYPE_CHECKING:
    from weaviate.proto.v1 import base_pb2, batch_pb2, search_get_pb2

T = TypeVar("T")
_SINGLE = 1  # VECTOR_TYPE_SINGLE_FP32
_WRITE, _READ = 90.0, 60.0  # seconds for one call


class WeaviateWire:
    """One channel. Safe to use from several threads."""

    def __init__(self, target: Target, *, largest: int, patience: float = PATIENCE) -> None:
        import grpc  # type: ignore[import-untyped]

        address, secure = grpc_address(target)
        self.where, self._look = target.shown, look_at(target)
        self.largest = largest
        self._patience = patience
        options = [
            ("grpc.max_send_message_length", largest),
            ("grpc.max_receive_message_length", largest),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = (
            grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
            if secure
            else grpc.insecure_channel(address, options)
        )
        self._stub = stub_class()(self._channel)
        key = target.api_key
        self._metadata = (("authorization", f"Bearer {key.reveal()}"),) if key else ()

    def close(self) -> None:
        """End it; safe to call twice."""
        self._channel.close()

    def insert(
        self, collection: str, tenant: str, objects: Sequence[tuple[str, VectorObject]], cancel: Cancel
    ) -> Mapping[int, str]:
        """Write objects by (uuid, body), replacing those that are there; the server's words by position, if refused."""
        from weaviate.proto.v1 import batch_pb2

        request = batch_pb2.BatchObjectsRequest()
        for name, body in objects:
            _fill(request.objects.add(collection=collection, tenant=tenant, uuid=name), body)
        reply = self._call(lambda timeout: self._send("BatchObjects", request, timeout), "a batch", _WRITE, cancel)
        return {each.index: each.error for each in reply.errors}

    def fetch(
        self, collection: str, tenant: str, ids: Sequence[str], vectors: Sequence[str] | None, cancel: Cancel
    ) -> dict[str, VectorObject]:
        """The objects that are there, by id; with these vectors. None for `vectors`: the ids alone."""
        from weaviate.proto.v1 import search_get_pb2

        request = search_get_pb2.SearchRequest(
            collection=collection,
            tenant=tenant,
            limit=len(ids),
            filters=_by_ids(ids),
            properties=search_get_pb2.PropertiesRequest(return_all_nonref_properties=vectors is not None),
            metadata=_metadata(vectors or ()),
            uses_123_api=True,
            uses_125_api=True,
            uses_127_api=True,
        )
        reply = self.search(request, cancel)
        return dict(map(read_object, reply.results))

    def page(
        self, collection: str, tenant: str, after: str, size: int, vectors: Sequence[str], cancel: Cancel
    ) -> list[tuple[str, VectorObject]]:
        """The next objects after an id, in the order of ids; "" begins."""
        from weaviate.proto.v1 import search_get_pb2

        request = search_get_pb2.SearchRequest(
            collection=collection,
            tenant=tenant,
            limit=size,
            after=after or str(uuid.UUID(int=0)),
            properties=search_get_pb2.PropertiesRequest(return_all_nonref_properties=True),
            metadata=_metadata(vectors),
            uses_123_api=True,
            uses_125_api=True,
            uses_127_api=True,
        )
        return [read_object(each) for each in self.search(request, cancel).results]

    def delete(self, collection: str, tenant: str, ids: Sequence[str], cancel: Cancel) -> int:
        """Delete objects by id; how many there were. Raises OpsError where the server deletes only some."""
        from weaviate.proto.v1 import batch_delete_pb2

        request = batch_delete_pb2.BatchDeleteRequest(
            collection=collection, tenant=tenant, filters=_by_ids(ids), verbose=False
        )
        reply = self._call(lambda timeout: self._send("BatchDelete", request, timeout), "a delete", _WRITE, cancel)
        if reply.failed:
            raise OpsError(
                f"Weaviate at {self.where} did not delete {reply.failed} of {len(ids)} objects of {collection}"
            )
        return int(reply.successful)

    def count(self, collection: str, tenant: str, cancel: Cancel) -> int:
        """How many objects there are."""
        from weaviate.proto.v1 import aggregate_pb2

        request = aggregate_pb2.AggregateRequest(collection=collection, tenant=tenant, objects_count=True)
        reply = self._call(lambda timeout: self._send("Aggregate", request, timeout), "a count", _READ, cancel)
        return int(reply.single_result.objects_count)

    def search(self, request: search_get_pb2.SearchRequest, cancel: Cancel) -> search_get_pb2.SearchReply:
        """Any search. Raises Refused."""
        reply: search_get_pb2.SearchReply = self._call(
            lambda timeout: self._send("Search", request, timeout), "a read", _READ, cancel
        )
        return reply

    def _call(self, send: Callable[[float], T], what: str, most: float, cancel: Cancel) -> T:
        def once() -> T:
            left = cancel.remaining
            return send(most if left is None else max(0.05, min(most, left)))

        return patiently(what, once, cancel, where=self.where, patience=self._patience, look=self._look)

    def _send(self, method: str, request: object, timeout: float) -> Any:
        import grpc

        try:
            return getattr(self._stub, method)(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._meaning(error) from None

    def _meaning(self, error: Any) -> Exception:
        """What a failed call means for who asked."""
        import grpc

        status, code, words = grpc.StatusCode, error.code(), str(error.details() or "")
        if code is status.RESOURCE_EXHAUSTED and "larger than max" in words:
            return TooLarge(f"Weaviate at {self.where}: {words}", next="opsctl collections status")
        if code in (status.UNAUTHENTICATED, status.PERMISSION_DENIED):
            next_ = "correct api_key of the store in opsctl.yaml, then: opsctl collections status"
            return ConfigError(f"Weaviate at {self.where} does not let us in", why=words, next=next_)
        passing = (status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.RESOURCE_EXHAUSTED, status.ABORTED)
        if code in (*passing, status.CANCELLED) or passes(words):
            return Passing(f"{code.name}: {words}")
        return Refused(words or code.name)


class TooLarge(OpsError):
    """One message would be larger than either side takes."""

    code = "too-large"


class Refused(Exception):
    """The server answered, and does not do it. `words` are its own."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def _by_ids(ids: Iterable[str]) -> base_pb2.Filters:
    from weaviate.proto.v1 import base_pb2

    return base_pb2.Filters(
        operator=base_pb2.Filters.OPERATOR_CONTAINS_ANY,
        target=base_pb2.FilterTarget(property="_id"),
        value_text_array=base_pb2.TextArray(values=ids),
    )


def _metadata(vectors: Sequence[str]) -> search_get_pb2.MetadataRequest:
    from weaviate.proto.v1 import search_get_pb2

    named = [name for name in vectors if name != DEFAULT]
    return search_get_pb2.MetadataRequest(uuid=True, vector=DEFAULT in vectors, vectors=named)


# From a body to the wire


def _fill(made: batch_pb2.BatchObject, body: VectorObject) -> None:
    """Fill it in place: built on the side and copied, it would take twice the time."""
    for name, data in body.vectors.items():
        if name == DEFAULT:
            made.vector_bytes = data
        else:
            made.vectors.add(name=name, vector_bytes=data, type=_SINGLE)
    properties = made.properties
    fields = properties.non_ref_properties.fields
    for name, value in body.properties.items():
        if isinstance(value, str):
            fields[name].string_value = value
        elif isinstance(value, bool):
            fields[name].bool_value = value
        elif isinstance(value, int | float):
            fields[name].number_value = value
        else:
            _array(properties, name, value)
    properties.non_ref_properties.SetInParent()


def _array(result: batch_pb2.BatchObject.Properties, name: str, values: Sequence[Any]) -> None:
    if not values:
        result.empty_list_props.append(name)
    elif isinstance(values[0], str):
        result.text_array_properties.add(prop_name=name, values=values)
    elif isinstance(values[0], bool):
        result.boolean_array_properties.add(prop_name=name, values=values)
    elif isinstance(values[0], int):
        result.int_array_properties.add(prop_name=name, values=values)
    else:
        result.number_array_properties.add(prop_name=name, values_bytes=struct.pack(f"<{len(values)}d", *values))


# From the wire to a body


def read_object(found: search_get_pb2.SearchResult) -> tuple[str, VectorObject]:
    """The id and what is stored under it, out of an answer."""
    meta = found.metadata
    vectors = {each.name: each.vector_bytes for each in meta.vectors}
    if meta.vector_bytes:
        vectors[DEFAULT] = meta.vector_bytes
    properties: dict[str, Value] = {}
    for name, value in found.properties.non_ref_props.fields.items():
        kind = value.WhichOneof("kind")
        if kind == "text_value":
            properties[name] = value.text_value
        elif kind is not None and kind != "null_value":
            properties[name] = _value(kind, value)
    # Zeros at its front are left out.
    return uuid_text(meta.id_as_bytes.rjust(16, b"\0")), VectorObject(properties, vectors)


def _value(kind: str, value: Any) -> Value:
    if kind == "list_value":
        return _values(value.list_value)
    found = getattr(value, kind)
    if kind == "date_value":
        return same_date(found)
    return found if isinstance(found, str | bool | int | float) else str(found)


def _values(values: Any) -> Value:
    kind = values.WhichOneof("kind")
    if kind is None:
        return []
    found = getattr(values, kind).values
    if kind == "int_values":
        return list(struct.unpack(f"<{len(found) // 8}q", found))
    if kind == "number_values":
        return list(struct.unpack(f"<{len(found) // 8}d", found))
    if kind == "date_values":
        return [same_date(each) for each in found]
    return list(found)
