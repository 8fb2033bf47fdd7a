"""Searches in a Weaviate collection: near vectors and BM25, in each of the days that are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.search import Hit, Question, Scope
from opsctl.model.store import Target
from opsctl.stores.weaviate_rest import DEFAULT, WeaviateRest
from opsctl.stores.weaviate_retry import tenant_missing
from opsctl.stores.weaviate_wire import Refused, WeaviateWire, read_object

if TYPE_CHECKING:
    from weaviate.proto.v1 import search_get_pb2

_ASIDE = 8  # tenants that are asked side by side


class WeaviateSearch:
    """One server. `vector` is the named vector to compare with; without it the only one that clients bring."""

    def __init__(self, target: Target, *, vector: str = "", patience: float) -> None:
        self._target = target
        self._vector = vector
        self._patience = patience
        self._rest = WeaviateRest(target, patience=patience)
        self._wired: WeaviateWire | None = None

    def describe(self, cancel: Cancel) -> str:
        """Connect."""
        return f"Weaviate {self._rest.meta(cancel)['version']} {self._target.shown}"

    def scope(self, question: Question, cancel: Cancel) -> Scope:
        """The newest days that are awake, or the tenants named. Raises ConfigError, UsageError."""
        settings = self._rest.collection(question.collection, cancel)
        if settings is None:
            have = ", ".join(sorted(self._rest.schema(cancel))) or "none"
            raise ConfigError(
                f"Weaviate at {self._target.shown} has no collection {question.collection}",
                why=f"it has {have}",
                next="opsctl collections apply",
            )
        vector, notes = self._comparable(settings)
        self._wire(cancel)  # both halves use it, side by side
        tenancy = settings.get("multiTenancyConfig") or {}
        if not tenancy.get("enabled"):
            if question.tenants:
                raise UsageError(
                    f"--tenant: {question.collection} has no tenants",
                    next=f"opsctl search TEXT --collection {question.collection}",
                )
            return Scope(("",), vector, notes=tuple(notes))
        tenants, more = _chosen(question, self._rest.tenants(question.collection, cancel), tenancy)
        return Scope(tenants, vector, not tenants and not more, (*notes, *more))

    def _comparable(self, settings: Mapping[str, Any]) -> tuple[str, list[str]]:
        """The vector that a text embedded here can be compared with."""
        named: Mapping[str, Any] = settings.get("vectorConfig") or {}
        if not named:
            own = settings.get("vectorizer") in (None, "", "none")
            return (DEFAULT, []) if own else ("", ["its vectors are made by the server: only words are searched"])
        mine = [name for name, each in named.items() if "none" in (each.get("vectorizer") or {"none": {}})]
        if self._vector and self._vector not in named:
            raise UsageError(
                f"--vector: there is no vector {self._vector}", why=f"there is {', '.join(named)}", next="--vector NAME"
            )
        if self._vector in mine or len(mine) == 1:
            return self._vector or mine[0], []
        if not mine or self._vector:
            return "", ["its vectors are made by the server: only words are searched"]
        preferred = next((name for name in mine if "minilm" in name.lower()), "")
        if not preferred:
            raise UsageError("the collection has several vectors", why=", ".join(mine), next=f"--vector {mine[0]}")
        return preferred, []

    def nearest(self, question: Question, scope: Scope, vector: bytes, cancel: Cancel) -> Sequence[Hit]:
        """By cosine distance."""
        from weaviate.proto.v1 import base_pb2, base_search_pb2

        single = base_pb2.Vectors(vector_bytes=vector, type=base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32)
        targets = None if scope.vector == DEFAULT else base_search_pb2.Targets(target_vectors=[scope.vector])
        near = base_search_pb2.NearVector(vectors=[single], targets=targets)
        return self._everywhere(question, scope, cancel, lambda meta: _nearness(meta.distance), near_vector=near)

    def worded(self, question: Question, scope: Scope, cancel: Cancel) -> Sequence[Hit]:
        """By BM25 over the searchable properties."""
        from weaviate.proto.v1 import base_search_pb2

        if not question.text.strip():
            return []  # BM25 refuses it
        bm25 = base_search_pb2.BM25(query=question.text)
        return self._everywhere(question, scope, cancel, lambda meta: {"words": float(meta.score)}, bm25_search=bm25)

    def _everywhere(
        self, question: Question, scope: Scope, cancel: Cancel, figure: Callable[[Any], dict[str, float]], **how: Any
    ) -> list[Hit]:
        def one(tenant: str) -> list[Hit]:
            reply = self._one(_request(question, tenant, how), tenant, cancel)
            return [_hit(each, tenant, figure) for each in reply.results]

        if len(scope.tenants) == 1:
            return one(scope.tenants[0])
        with ThreadPoolExecutor(min(_ASIDE, len(scope.tenants)), "search") as pool:
            return [hit for hits in pool.map(one, scope.tenants) for hit in hits]

    def _one(self, request: search_get_pb2.SearchRequest, tenant: str, cancel: Cancel) -> search_get_pb2.SearchReply:
        try:
            return self._wire(cancel).search(request, cancel)
        except Refused as refused:
            if tenant_missing(refused.words):
                raise UsageError(
                    f"the tenant {tenant} is at rest or not there",
                    why=refused.words,
                    next="opsctl collections status   (and turn on `activate` for the collection)",
                ) from None
            raise ConfigError(
                f"Weaviate at {self._target.shown} does not search in {request.collection}",
                why=refused.words,
                next="opsctl collections status",
            ) from None

    def _wire(self, cancel: Cancel) -> WeaviateWire:
        if self._wired is None:
            self._wired = WeaviateWire(self._target, largest=self._rest.largest(cancel), patience=self._patience)
        return self._wired

    def close(self) -> None:
        """End it; safe to call twice."""
        self._rest.close()
        if self._wired is not None:
            self._wired.close()


def _chosen(
    question: Question, there: Mapping[str, str], tenancy: Mapping[str, Any]
) -> tuple[tuple[str, ...], list[str]]:
    """The tenants to look in, and what is left out. A search that names no day wakes none."""
    if question.tenants:
        missing = [name for name in question.tenants if name not in there]
        if missing:
            newest = ", ".join(sorted(there)[-3:]) or "none"
            raise UsageError(
                f"--tenant: {question.collection} has no {', '.join(missing)}",
                why=f"its newest are {newest}",
                next="opsctl collections status",
            )
        return question.tenants, []
    newest_first = sorted(there, reverse=True)[: question.days]
    awake = tuple(name for name in newest_first if there[name] == "ACTIVE")
    resting = [name for name in newest_first if there[name] != "ACTIVE"]
    if not resting:
        return awake, []
    how = f"--tenant {resting[0]} wakes it" if tenancy.get("autoTenantActivation") else "opsctl collections status"
    return awake, [f"{len(resting)} of the newest days are at rest and were left out: {how}"]


def _request(question: Question, tenant: str, how: Mapping[str, Any]) -> search_get_pb2.SearchRequest:
    from weaviate.proto.v1 import search_get_pb2

    return search_get_pb2.SearchRequest(
        collection=question.collection,
        tenant=tenant,
        limit=question.candidates,
        properties=search_get_pb2.PropertiesRequest(return_all_nonref_properties=True),
        metadata=search_get_pb2.MetadataRequest(uuid=True, distance=True, score=True),
        uses_123_api=True,
        uses_125_api=True,
        uses_127_api=True,
        **how,
    )


def _nearness(distance: float) -> dict[str, float]:
    return {"nearness": round(1.0 - distance, 6)}


def _hit(found: search_get_pb2.SearchResult, tenant: str, figure: Callable[[Any], dict[str, float]]) -> Hit:
    name, body = read_object(found)
    text = body.properties.get("text")
    return Hit(name, tenant, text if isinstance(text, str) else "", dict(body.properties), **figure(found.metadata))
