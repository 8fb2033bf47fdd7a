"""A Qdrant server as the goal of a migration: collections made like the source's, points written and read back."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Described, Item, Rejected, Removal
from opsctl.model.qdrant_collection import CollectionSpec, differing, unfit
from opsctl.model.qdrant_point import fingerprint
from opsctl.model.store import Target
from opsctl.stores.qdrant_points import PAGE, count, delete_same, refused, retrieve, retrieve_raw, specs
from opsctl.stores.qdrant_raw import joined, same_texts
from opsctl.stores.qdrant_rest import PATIENCE, Refusal, Rest, path_of

_MOST = 8 << 20  # bytes of one request; a server takes 32 MiB
_LOOKS = (0.0, 0.2, 0.8)  # s; a replica that did not answer the write may be a moment behind
_NO_COLLECTION = 404
_CONFLICT = 409
_TOO_LARGE = 413

Specs = Callable[[Cancel], Mapping[str, CollectionSpec]]


class QdrantSink:
    """Collections by the name that items have as their group; `wanted` says how each is made where it is missing."""

    def __init__(self, target: Target, wanted: Specs, *, patience: float = PATIENCE) -> None:
        self._rest = Rest(target, patience=patience)
        self._wanted = wanted
        self._ready: dict[str, CollectionSpec] = {}
        self._lock = threading.Lock()

    def describe(self, cancel: Cancel) -> Described:
        """Which server it is, and what it will have otherwise than the source."""
        version = self._rest.get("/", cancel=cancel)["version"]
        notes = tuple(self._notes(cancel))
        return Described("Qdrant", version, self._rest.shown, self._rest.target.identity, notes)

    def counts(self, cancel: Cancel) -> Mapping[str, int]:
        """Points by collection, exactly; those that are not there are left out."""
        wanted = set(self._wanted(cancel)) & set(self._there(cancel))
        return {name: count(self._rest, name, cancel=cancel) for name in sorted(wanted)}

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """What of the collections does not fit."""
        there = self._there(cancel)
        return [text for spec in self._wanted(cancel).values() for text in unfit(spec, there.get(spec.name))]

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """Make missing collections, payload indexes and aliases. Raises ConfigError in the server's own words."""
        for name in groups:
            if name in self._ready:
                continue
            with self._lock:
                if name not in self._ready:
                    try:
                        self._ready[name] = self._made(name, cancel)
                    except Refusal as refusal:
                        raise ConfigError(
                            f"{self._rest.shown} does not take collection {name}",
                            why=refusal.words,
                            next="opsctl migrate qdrant-to-cloud … --dry-run",
                        ) from None

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """Upsert, and wait until it is applied. A refused batch is halved until those to blame are left."""
        rejected: list[Rejected] = []
        for name, chosen in _groups(items).items():
            for part in self._parts(name, chosen):
                rejected += self._upsert(name, part, cancel)
        return rejected

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """The digests of what is stored."""
        found: dict[tuple[str, str], bytes] = {}
        open_ones = list(items)
        for pause in self._looks(items):
            cancel.wait(pause)
            for name, chosen in _groups(open_ones).items():
                found.update(((name, point), digest) for point, digest in self._stored(name, chosen, cancel).items())
            open_ones = [each for each in open_ones if found.get((each.group, each.id)) != each.digest]
            if not open_ones:
                break
        return [found.get((each.group, each.id)) for each in items]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """The collection each id is in, the first by name where it is in several."""
        found: dict[str, str] = {}
        for name in self._wanted(cancel):
            for point in retrieve(self._rest, name, [each for each in ids if each not in found], cancel=cancel):
                found[point] = name
        return found

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Take back what still is as it was written; the collections stay."""
        chosen: dict[str, dict[str, bytes]] = defaultdict(dict)
        for point, name, digest in written:
            chosen[name][point] = digest
        done = {
            (name, point): removal
            for name, digests in chosen.items()
            for point, removal in delete_same(self._rest, name, digests, cancel=cancel).items()
        }
        return [done[name, point] for point, name, _ in written]

    def close(self) -> None:
        """End the connections."""
        self._rest.close()

    def _there(self, cancel: Cancel) -> Mapping[str, CollectionSpec]:
        return specs(self._rest, (), cancel=cancel)

    def _notes(self, cancel: Cancel) -> Iterator[str]:
        there, peers = self._there(cancel), self._peers(cancel)
        for spec in self._wanted(cancel).values():
            if spec.name in there:
                yield f"{spec.name} is there already, with {there[spec.name].points:,} points"
                yield from differing(spec, there[spec.name])
            else:
                yield from spec.left_out(peers=peers)
            for alias in spec.aliases:
                other = next((each.name for each in there.values() if alias in each.aliases), spec.name)
                if other != spec.name:
                    yield f"alias {alias} belongs to {other} there and is left alone"

    def _peers(self, cancel: Cancel) -> int:
        """How many peers its cluster has; 1 where a key may not ask."""
        try:
            return max(1, len(self._rest.get("/cluster", cancel=cancel).get("peers") or ()))
        except Refusal:
            return 1

    def _made(self, name: str, cancel: Cancel) -> CollectionSpec:
        spec, there = self._wanted(cancel)[name], self._there(cancel)
        if name not in there:
            try:
                self._rest.call("PUT", path_of(name), spec.create_body(peers=self._peers(cancel)), cancel=cancel)
            except Refusal as refusal:
                if refusal.status != _CONFLICT:  # somebody else, or this request itself before its answer was lost
                    raise
        have = there[name].indexes if name in there else {}
        for field in sorted(set(spec.indexes) - set(have)):
            body = {"field_name": field, "field_schema": spec.indexes[field]}
            self._rest.call("PUT", path_of(name, "/index?wait=true"), body, cancel=cancel)
        taken = {alias for each in there.values() for alias in each.aliases}
        for alias in sorted(set(spec.aliases) - taken):
            action = {"create_alias": {"collection_name": name, "alias_name": alias}}
            self._rest.call("POST", "/collections/aliases", {"actions": [action]}, cancel=cancel)
        return CollectionSpec.of(name, self._rest.get(path_of(name), cancel=cancel))

    def _parts(self, name: str, items: Sequence[Item]) -> Iterator[list[Item]]:
        """As many as one request may have, by number and by bytes."""
        spec = self._ready.get(name)
        most = (spec.strict("upsert_max_batchsize") if spec else None) or len(items)
        part: list[Item] = []
        size = 0
        for item in items:
            if part and (len(part) >= most or size + len(item.body) > _MOST):
                yield part
                part, size = [], 0
            part.append(item)
            size += len(item.body)
        if part:
            yield part

    def _upsert(self, name: str, items: Sequence[Item], cancel: Cancel) -> list[Rejected]:
        body = b'{"points":' + joined(each.body for each in items) + b"}"
        try:
            self._rest.call("PUT", path_of(name, "/points?wait=true"), body, cancel=cancel)
        except Refusal as refusal:
            if refusal.status == _NO_COLLECTION:
                raise refused(self._rest, f"points for {name}", refusal) from None
            if len(items) == 1:
                code = "too-large" if refusal.status == _TOO_LARGE else "refused"
                return [Rejected(items[0].key, refusal.words, code)]
            half = len(items) // 2
            return self._upsert(name, items[:half], cancel) + self._upsert(name, items[half:], cancel)
        return []

    def _stored(self, name: str, items: Sequence[Item], cancel: Cancel) -> Mapping[str, bytes]:
        """The digests of what is stored, by id. What comes back byte for byte as it was sent need not be read."""
        sent = {each.id: each.body for each in items}
        ids = list(sent)
        if len(sent) == len(items) <= PAGE and all(sent.values()):
            content = retrieve_raw(self._rest, name, ids, cancel=cancel)
            if content and same_texts(content, list(sent.values())):
                return {each.id: each.digest for each in items}
        points = retrieve(self._rest, name, ids, cancel=cancel)
        return {point: fingerprint(body)[0] for point, body in points.items()}

    def _looks(self, items: Sequence[Item]) -> Sequence[float]:
        params = [(self._ready[each.group].config.get("params") or {}) for each in items if each.group in self._ready]
        copies = max((each.get("replication_factor") or 1 for each in params), default=1)
        return _LOOKS if copies > 1 else _LOOKS[:1]


def _groups(items: Sequence[Item]) -> Mapping[str, list[Item]]:
    found: dict[str, list[Item]] = defaultdict(list)
    for each in items:
        found[each.group].append(each)
    return found
