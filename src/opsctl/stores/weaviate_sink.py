"""Weaviate as a sink of migrations: written a tenant at a time, read back with vectors, compared bit by bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError
from opsctl.model.migrate import Described, Item, Rejected, Removal
from opsctl.model.stackfile_problem import nearest
from opsctl.model.store import Target
from opsctl.model.vector_object import VectorObject
from opsctl.stores.weaviate_fit import check_vectors
from opsctl.stores.weaviate_rest import WeaviateRest
from opsctl.stores.weaviate_retry import PATIENCE, Passing, passes, patiently, tenant_missing
from opsctl.stores.weaviate_tenants import TenantKeeper
from opsctl.stores.weaviate_wire import Refused, TooLarge, WeaviateWire

T = TypeVar("T")
_READ = 500  # objects in one read: more are no faster, and hold more memory
_BYTES = 16_000_000  # in one message, either way
_TRIES = 5  # for objects that are refused for a passing reason


class WeaviateSink:
    """One collection. Objects with an id that is there already are replaced; nothing else in it is touched.

    `vectors` are the named vectors that the items bring, and so those that are compared; without any the server has
    to make them. `widths` are declared widths, where there are any; the width of what the collection holds already
    counts before them. A `clinical` collection is refused when one of its vectors is made by a third party.
    """

    def __init__(
        self,
        target: Target,
        collection: str,
        *,
        vectors: Sequence[str] = (),
        widths: Mapping[str, int] | None = None,
        clinical: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self._clinical = clinical
        self._target = target
        self._collection = collection
        self._vectors = tuple(vectors)
        self._widths = dict(widths or {})
        self._patience = patience
        self._rest = WeaviateRest(target, patience=patience)
        self._opening = threading.Lock()
        self._opened: tuple[WeaviateWire, TenantKeeper | None] | None = None
        self._version = ""
        self._properties: dict[str, str] = {}

    # Connecting

    def describe(self, cancel: Cancel) -> Described:
        """Connect. Raises ConfigError when the collection is missing or has other vectors."""
        _, tenants = self._open(cancel)
        count = tenants.count(cancel) if tenants is not None else 0
        notes = (f"{count} tenants are there; more are made, and woken, as they are needed",) if tenants else ()
        return Described(
            "Weaviate",
            self._version,
            f"{self._target.shown}/{self._collection}",
            f"weaviate:{self._target.identity}/{self._collection}",
            notes,
        )

    def shape(self, cancel: Cancel) -> tuple[Mapping[str, str], bool]:
        """The collection's properties with their types, and whether it has tenants. Raises what `describe` does."""
        _, tenants = self._open(cancel)
        return self._properties, tenants is not None

    @property
    def widths(self) -> Mapping[str, int]:
        """How many numbers its vectors have, as far as it is known."""
        return self._widths

    def _open(self, cancel: Cancel) -> tuple[WeaviateWire, TenantKeeper | None]:
        with self._opening:
            if self._opened is None:
                meta = self._rest.meta(cancel)
                self._version = str(meta["version"])
                settings = self._rest.collection(self._collection, cancel)
                if settings is None:
                    raise self._missing(cancel)
                check_vectors(self._collection, settings, self._vectors, clinical=self._clinical)
                self._properties = {each["name"]: each["dataType"][0] for each in settings.get("properties") or ()}
                wire = WeaviateWire(self._target, largest=self._rest.largest(cancel), patience=self._patience)
                by_tenant = bool((settings.get("multiTenancyConfig") or {}).get("enabled"))
                keeper = TenantKeeper(self._rest, self._collection) if by_tenant else None
                self._widths |= self._rest.widths(self._collection, settings, cancel)
                self._opened = wire, keeper
            return self._opened

    def _missing(self, cancel: Cancel) -> ConfigError:
        there = sorted(self._rest.schema(cancel))
        meant = nearest(self._collection, there)
        have = f"{', '.join(there) or 'none at all'}{f'; is {meant} meant?' if meant else ''}"
        return ConfigError(
            f"Weaviate at {self._target.shown} has no collection {self._collection}",
            why=f"it has {have}",
            next="opsctl collections apply",
        )

    # The contract

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """A width that does not fit, properties that are not there, a group where there are no tenants."""
        _, keeper = self._open(cancel)
        said: dict[str, None] = {}
        for item in sample:
            body = _body(item)
            if fault := self._width_fault(body):
                said[fault] = None
            for name in body.properties:
                if name not in self._properties:
                    said[f"{self._collection} has no property {name}: opsctl collections apply"] = None
            if (keeper is not None) is not bool(item.group):
                has = "needs a tenant for each object" if keeper is not None else "has no tenants"
                said[f"{self._collection} {has}"] = None
        return list(said)

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """Make the tenants that are missing, and wake those at rest."""
        _, keeper = self._open(cancel)
        if keeper is not None:
            keeper.ensure({each for each in groups if each}, cancel)

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """Write them, each tenant's at a time. An id that is given twice is written once, the last one."""
        self._open(cancel)
        rejected: list[Rejected] = []
        groups: dict[str, dict[str, Item]] = {}
        for item in items:
            fault = self._fault(item)
            if fault is not None:
                rejected.append(fault)
            else:
                groups.setdefault(item.group, {})[item.id] = item
        for group, wanted in groups.items():
            for part in _parts(list(wanted.values()), len(wanted)):
                rejected += self._write(group, part, cancel)
        return rejected

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """What is stored under each id, properties and the vectors the items bring, as digests."""
        found: dict[tuple[str, str], bytes] = {}
        groups: dict[str, dict[str, Item]] = {}
        for item in items:
            groups.setdefault(item.group, {})[item.id] = item
        for group, wanted in groups.items():
            for part in _parts(list(wanted.values()), _READ):
                found |= {
                    (group, name): body.digest(self._vectors)
                    for name, body in self._fetch(group, [each.id for each in part], cancel).items()
                }
        return [found.get((item.group, item.id)) for item in items]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """The tenant each id is in; all tenants are asked, those at rest woken and put back."""
        wire, keeper = self._open(cancel)
        if keeper is None:
            return {
                each: ""
                for part in _slices(ids, _READ)
                for each in wire.fetch(self._collection, "", part, None, cancel)
            }
        where: dict[str, str] = {}
        for tenant in keeper.every(cancel):
            left = [each for each in ids if each not in where]
            if not left:
                break
            for part in _slices(left, _READ):
                where |= dict.fromkeys(self._fetch(tenant, part, cancel, bare=True), tenant)
        return where

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Delete those that still are what was written: read, compared, deleted, a moment apart."""
        result: dict[tuple[str, str], Removal] = {}
        groups: dict[str, dict[str, bytes]] = {}
        for name, group, wanted in written:
            groups.setdefault(group, {})[name] = wanted
        for group, by_id in groups.items():
            for part in _slices(list(by_id), _READ):
                there = self._fetch(group, part, cancel)
                same = [name for name, body in there.items() if body.digest(self._vectors) == by_id[name]]
                if same:
                    self._delete(group, same, cancel)
                for name in part:
                    gone = Removal.CHANGED if name in there else Removal.GONE
                    result[group, name] = Removal.REMOVED if name in same else gone
        return [result[group, name] for name, group, _ in written]

    def close(self) -> None:
        """Put to rest again what was woken, and end the connection."""
        with self._opening:
            opened, self._opened = self._opened, None
            if opened is not None:
                if opened[1] is not None:
                    opened[1].back_to_rest(Cancel(20))
                opened[0].close()
            self._rest.close()

    # One part of a group

    def _write(self, group: str, items: Sequence[Item], cancel: Cancel) -> list[Rejected]:
        wire, keeper = self._open(cancel)
        left, refused = list(items), dict[str, str]()
        tries = 0

        def once() -> None:
            nonlocal left, tries
            tries += 1
            try:
                said = wire.insert(self._collection, group, [(each.id, _body(each)) for each in left], cancel)
            except Refused as error:
                said = dict.fromkeys(range(len(left)), error.words)
            again: list[Item] = []
            for position, words in said.items():
                if tries < _TRIES and (passes(words) or tenant_missing(words)):
                    again.append(left[position])
                else:
                    refused[left[position].id] = words
            left = again
            if again:
                words = said[next(iter(said))]
                if keeper is not None and tenant_missing(words):
                    keeper.forget(group)
                    keeper.ensure({group}, cancel)
                raise Passing(words)

        patiently("a batch", once, cancel, where=self._target.shown, patience=self._patience)
        if refused:
            self._take_back(group, [each for each in items if each.id in refused], cancel)
        return [Rejected(each.key, refused[each.id]) for each in items if each.id in refused]

    def _take_back(self, group: str, items: Sequence[Item], cancel: Cancel) -> None:
        """Weaviate keeps some of what it refuses (a vector that its index does not take): delete that."""
        there = self._fetch(group, [each.id for each in items], cancel)
        kept = [each.id for each in items if each.id in there and there[each.id].digest(self._vectors) == each.digest]
        if kept:
            self._delete(group, kept, cancel)

    def _fetch(self, group: str, ids: Sequence[str], cancel: Cancel, *, bare: bool = False) -> dict[str, VectorObject]:
        wire, _ = self._open(cancel)
        vectors = None if bare else self._vectors
        try:
            return self._awake(group, lambda: wire.fetch(self._collection, group, ids, vectors, cancel), cancel) or {}
        except TooLarge:
            if len(ids) == 1:
                raise
        half = len(ids) // 2  # nobody knows how large they are: a rerun asks for ids alone
        return self._fetch(group, ids[:half], cancel) | self._fetch(group, ids[half:], cancel)

    def _delete(self, group: str, ids: Sequence[str], cancel: Cancel) -> None:
        wire, _ = self._open(cancel)
        self._awake(group, lambda: wire.delete(self._collection, group, ids, cancel), cancel)

    def _awake(self, group: str, call: Callable[[], T], cancel: Cancel) -> T | None:
        """What `call` gives, the tenant woken before; None where there is no such tenant."""
        _, keeper = self._open(cancel)
        for last in (False, True):
            if keeper is not None and not keeper.wake(group, cancel):
                return None
            try:
                return call()
            except Refused as error:
                if last or keeper is None or not tenant_missing(error.words):
                    raise OpsError(
                        f"Weaviate at {self._target.shown} does not read {self._collection}",
                        why=error.words,
                        next="opsctl collections status",
                    ) from None
                keeper.forget(group)
        return None

    def _fault(self, item: Item) -> Rejected | None:
        body = _body(item)
        if fault := self._width_fault(body):
            return Rejected(item.key, fault, "width")
        if not body.properties.keys() <= self._properties.keys():
            # The server would add them to the schema without a word.
            unknown = ", ".join(sorted(body.properties.keys() - self._properties.keys()))
            return Rejected(item.key, f"{self._collection} has no property {unknown}", "property")
        if item.size > _BYTES:
            return Rejected(item.key, f"{item.size} bytes; no more than {_BYTES} fit into one message", "too-large")
        return None

    def _width_fault(self, body: VectorObject) -> str:
        for name, data in body.vectors.items():
            want, have = self._widths.get(name), len(data) // 4
            if want is None:
                self._widths.setdefault(name, have)
            elif want != have:
                return f"the vector {name} has {have} numbers, and {self._collection} keeps {want}"
        return ""


def _body(item: Item) -> VectorObject:
    assert isinstance(item.body, VectorObject)
    return item.body


def _parts(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    """Parts of at most so many items, and of no more bytes than one message takes."""
    part: list[Item] = []
    size = 0
    for item in items:
        if part and (len(part) >= most or size + item.size > _BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += item.size
    if part:
        yield part


def _slices(ids: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), most):
        yield ids[start : start + most]
