"""Weaviate as the jobs on collections see it: schema, tenants, counts, and a tenant's objects page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.collections import Collection, Difference
from opsctl.model.errors import OpsError, StepFailed
from opsctl.model.store import Target
from opsctl.model.vector_object import VectorObject
from opsctl.stores import weaviate_schema as shapes
from opsctl.stores.weaviate_rest import WeaviateRest
from opsctl.stores.weaviate_retry import PATIENCE
from opsctl.stores.weaviate_wire import Refused, WeaviateWire

T = TypeVar("T")
_COUNTED = 100  # tenants that are counted one by one


class WeaviateCollections:
    """One server. Connects at first use."""

    def __init__(self, target: Target, *, patience: float = PATIENCE) -> None:
        self._target = target
        self._patience = patience
        self._rest = WeaviateRest(target, patience=patience)
        self._wired: WeaviateWire | None = None

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self._target.shown

    def close(self) -> None:
        """End it; safe to call twice."""
        self._rest.close()
        if self._wired is not None:
            self._wired.close()

    # The schema

    def version(self, cancel: Cancel) -> str:
        """The server's version. Raises ConfigError for one that is too old."""
        return str(self._rest.meta(cancel)["version"])

    def modules(self, cancel: Cancel) -> tuple[str, ...]:
        """Its modules."""
        return tuple(sorted(self._rest.meta(cancel).get("modules") or ()))

    def schema(self, cancel: Cancel) -> Mapping[str, Mapping[str, Any]]:
        """Every collection's settings, by name."""
        return self._rest.schema(cancel)

    def compare(
        self, wanted: Collection, live: Mapping[str, Any] | None, version: str, cancel: Cancel
    ) -> tuple[Difference, ...]:
        """What differs; the width of stored vectors is read from one object."""
        widths = self.widths(wanted.name, live, cancel) if live is not None else {}
        return shapes.compare(wanted, live, version, widths)

    def create(self, wanted: Collection, cancel: Cancel) -> None:
        """Make a collection."""
        self._rest.ask("POST", "/schema", cancel, shapes.create_json(wanted))

    def alter(self, wanted: Collection, found: Sequence[Difference], cancel: Cancel) -> None:
        """Do what can be done in place: settings and vectors in one change, then each new property."""
        live = self._rest.collection(wanted.name, cancel)
        if live is None:
            raise OpsError(f"{wanted.name} has gone meanwhile", next="opsctl collections apply")
        settings = shapes.altered(wanted, live, tuple(found))
        if settings is not None:
            self._rest.ask("PUT", f"/schema/{wanted.name}", cancel, settings)
        for each in shapes.added(wanted, tuple(found)):
            self._rest.ask("POST", f"/schema/{wanted.name}/properties", cancel, each)

    def widths(self, name: str, live: Mapping[str, Any], cancel: Cancel) -> Mapping[str, int]:
        """The width of each vector that is stored, from one object of an active tenant."""
        return self._rest.widths(name, live, cancel)

    # Tenants and objects

    def tenants(self, collection: str, cancel: Cancel) -> Mapping[str, str]:
        """Tenants with their state."""
        return self._rest.tenants(collection, cancel)

    def set_tenants(self, collection: str, states: Mapping[str, str], cancel: Cancel) -> None:
        """Put tenants into a state, and wait until they are."""
        self._rest.set_tenants(collection, states, cancel)

    def counts(self, cancel: Cancel) -> Mapping[str, int]:
        """Objects of each collection in what is active now.

        Counted now; where a collection has more than `_COUNTED` active tenants, by figures some seconds old.
        """
        by_tenant = {
            name: bool((each.get("multiTenancyConfig") or {}).get("enabled"))
            for name, each in self.schema(cancel).items()
        }
        shards: dict[str, dict[str, int]] = {name: {} for name in by_tenant}
        for node in self._rest.nodes(cancel):
            for each in node.get("shards") or ():
                if each.get("class") in shards:
                    shards[each["class"]][each.get("name", "")] = int(each.get("objectCount") or 0)
        found = {name: sum(there.values()) for name, there in shards.items()}
        few = {name: there for name, there in shards.items() if len(there) <= _COUNTED}
        places = [(name, each) for name, there in few.items() for each in (there if by_tenant[name] else [""])]
        found |= dict.fromkeys(few, 0)
        for (name, _), count in zip(places, self._rest.count(places, cancel), strict=True):
            found[name] += count
        return found

    def count(self, collection: str, tenant: str, cancel: Cancel) -> int:
        """Objects of one active tenant, counted now."""
        return self._rest.count([(collection, tenant)], cancel)[0]

    def pages(
        self, collection: str, tenant: str, size: int, cancel: Cancel
    ) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
        """The objects of a tenant as (id, properties), `size` at a time."""
        after = ""
        while True:
            page = self._page(collection, tenant, after, size, (), cancel)
            if page:
                yield [(name, body.properties) for name, body in page]
            if len(page) < size:
                return
            after = page[-1][0]

    def get(self, collection: str, tenant: str, id: str, cancel: Cancel) -> VectorObject | None:  # noqa: A002
        """One object without its vectors; None where there is none."""
        return self._asked(lambda: self._wire(cancel).fetch(collection, tenant, [id], (), cancel)).get(id)

    def put(self, collection: str, tenant: str, id: str, body: VectorObject, cancel: Cancel) -> None:  # noqa: A002
        """Write one object and read it back. Raises StepFailed where that is not what was written."""
        wire = self._wire(cancel)
        said = self._asked(lambda: wire.insert(collection, tenant, [(id, body)], cancel))
        if said:
            raise StepFailed(f"{collection} refuses an object", why=said[0], next="opsctl collections status")
        names = tuple(body.vectors)
        found = self._asked(lambda: wire.fetch(collection, tenant, [id], names, cancel)).get(id)
        if found is None or found.digest(names) != body.digest(names):
            raise StepFailed(
                f"{collection} does not give back what was written into it",
                why=f"object {id} {'is not there' if found is None else 'differs'}",
                next="opsctl collections status",
            )

    def _page(
        self, collection: str, tenant: str, after: str, size: int, vectors: Sequence[str], cancel: Cancel
    ) -> list[tuple[str, VectorObject]]:
        return self._asked(lambda: self._wire(cancel).page(collection, tenant, after, size, vectors, cancel))

    def _wire(self, cancel: Cancel) -> WeaviateWire:
        if self._wired is None:
            self._wired = WeaviateWire(self._target, largest=self._rest.largest(cancel), patience=self._patience)
        return self._wired

    def _asked(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except Refused as error:
            raise OpsError(
                f"Weaviate at {self._target.shown} does not do that", why=error.words, next="opsctl collections status"
            ) from None
