"""A Qdrant server as the source of a migration: points by scroll, with payload and every vector."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import UsageError
from opsctl.model.migrate import Described, Estimate, Record, Removal
from opsctl.model.qdrant_collection import CollectionSpec, summary
from opsctl.model.qdrant_point import dumped, examined, fingerprint, key_of, loaded, split_key
from opsctl.model.store import Target
from opsctl.stores.qdrant_points import PAGE, by_collection, count, delete_same, refused, retrieve, specs
from opsctl.stores.qdrant_raw import with_texts
from opsctl.stores.qdrant_rest import PATIENCE, Refusal, Rest, parsed, path_of

_SAMPLE = 100  # points from which the size of all is told
_AT_ONCE = 128  # points looked at and deleted in one go


class QdrantSource:
    """The points of some collections, or of all. Their order is that of their ids, within each collection."""

    def __init__(self, target: Target, collections: Sequence[str] = (), *, patience: float = PATIENCE) -> None:
        self._rest = Rest(target, patience=patience)
        self._wanted = tuple(collections)
        self._specs: Mapping[str, CollectionSpec] | None = None

    def specs(self, cancel: Cancel) -> Mapping[str, CollectionSpec]:
        """The collections by name, read once. Raises UsageError for one that is not there."""
        if self._specs is None:
            try:
                self._specs = specs(self._rest, self._wanted, cancel=cancel)
            except Refusal as refusal:
                there = [each["name"] for each in self._rest.get("/collections", cancel=cancel)["collections"]]
                raise UsageError(
                    refusal.words, why=f"there are {', '.join(sorted(there)) or 'none'}", next="--collection NAME"
                ) from None
        return self._specs

    def describe(self, cancel: Cancel) -> Described:
        """Which server it is, and which collections it has."""
        version = self._rest.get("/", cancel=cancel)["version"]
        notes = tuple(summary(each) for each in self.specs(cancel).values())
        return Described("Qdrant", version, self._rest.shown, self._rest.target.identity, notes)

    def estimate(self, cancel: Cancel) -> Estimate:
        """Exact counts, and bytes from the first hundred points of each collection."""
        records = total = 0
        for name, number in self.counts(cancel).items():
            sample = self._page(name, None, min(_SAMPLE, self._page_size(name)), cancel)["points"]
            sizes = [fingerprint(each)[1] for each in sample]
            records += number
            total += number * sum(sizes) // max(1, len(sizes))
        return Estimate(records, total)

    def counts(self, cancel: Cancel) -> Mapping[str, int]:
        """Points by collection, exactly."""
        return {name: count(self._rest, name, cancel=cancel) for name in self.specs(cancel)}

    def sample(self, collection: str, number: int, cancel: Cancel) -> Sequence[Record]:
        """Some points, at random, as the server chooses them."""
        body = {"query": {"sample": "random"}, "limit": min(number, self._page_size(collection))}
        try:
            found = self._rest.call("POST", path_of(collection, "/points/query"), body, cancel=cancel)["points"]
        except Refusal as refusal:
            raise refused(self._rest, f"a sample of {collection}", refusal) from None
        records = self.fetch([key_of(collection, each["id"]) for each in found], cancel)
        return [each for each in records if each is not None]

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        """Every point of every collection, by id. After an outage it goes on at the page that failed."""
        for name in self.specs(cancel):
            for page in self._pages(name, cancel):
                for start in range(0, len(page), batch):
                    yield [_record(name, each) for each in page[start : start + batch]]

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        """These points as they are now."""
        found: dict[bytes, Record] = {}
        for name, ids in by_collection(split_key(each) for each in keys).items():
            points = retrieve(self._rest, name, ids, cancel=cancel)
            found.update((key_of(name, point["id"]), _record(name, point)) for point in points.values())
        return [found.get(key) for key in keys]

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Delete those that are still the same. Nobody may write there meanwhile: see `delete_same`."""
        done: dict[bytes, Removal] = {}
        for start in range(0, len(seen), _AT_ONCE):
            chosen: dict[str, dict[str, bytes]] = defaultdict(dict)
            for key, digest in seen[start : start + _AT_ONCE]:
                name, point = split_key(key)
                chosen[name][point] = digest
            for name, digests in chosen.items():
                removals = delete_same(self._rest, name, digests, cancel=cancel)
                done.update((key_of(name, point), removal) for point, removal in removals.items())
        return [done[key] for key, _ in seen]

    def dump(self, record: Record) -> Mapping[str, Any]:
        """The point as JSON, vectors as base64 of float32."""
        return dumped(split_key(record.key)[0], record.value)

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        """Put points back where none is now. Raises UnreachableError where the collection is gone."""
        kept = [loaded(each) for each in dumped]
        outcome: list[str] = ["restored"] * len(kept)
        for name, ids in by_collection((name, str(point["id"])) for name, point in kept).items():
            there = retrieve(self._rest, name, ids, cancel=cancel)
            missing = []
            for index, (collection, point) in enumerate(kept):
                if collection != name:
                    continue
                if (now := there.get(str(point["id"]))) is None:
                    missing.append(point)
                else:
                    outcome[index] = "there" if fingerprint(now)[0] == fingerprint(point)[0] else "differs"
            self._put_back(name, missing, cancel)
        return outcome

    def close(self) -> None:
        """End the connections."""
        self._rest.close()

    def _put_back(self, name: str, points: Sequence[Mapping[str, Any]], cancel: Cancel) -> None:
        try:
            for start in range(0, len(points), _AT_ONCE):
                body = {"points": points[start : start + _AT_ONCE]}
                self._rest.call("PUT", path_of(name, "/points?wait=true"), body, cancel=cancel)
        except Refusal as refusal:
            raise refused(self._rest, f"points for {name}", refusal) from None

    def _pages(self, name: str, cancel: Cancel) -> Iterator[list[dict[str, Any]]]:
        """The pages of a scroll; the next one is asked for while somebody works on this one."""
        limit = self._page_size(name)
        with ThreadPoolExecutor(1, "scroll") as ahead:
            coming = ahead.submit(self._page, name, None, limit, cancel)
            while True:
                page = coming.result()
                following = page.get("next_page_offset")
                if following is not None:
                    coming = ahead.submit(self._page, name, following, limit, cancel)
                yield page["points"]
                if following is None:
                    return

    def _page(self, name: str, offset: Any, limit: int, cancel: Cancel) -> dict[str, Any]:
        body = {"limit": limit, "with_payload": True, "with_vector": True, "offset": offset}
        try:
            content = self._rest.raw("POST", path_of(name, "/points/scroll"), body, cancel=cancel)
        except Refusal as refusal:
            raise refused(self._rest, f"scrolling through {name}", refusal) from None
        page: dict[str, Any] = parsed(content, "a scroll")
        with_texts(content, page["points"])
        return page

    def _page_size(self, name: str) -> int:
        most = self._specs[name].strict("max_query_limit") if self._specs else None
        return min(PAGE, most or PAGE)


def _record(collection: str, point: dict[str, Any]) -> Record:
    digest, size, kept = examined(point)
    if "text" in point:  # it says all; as numbers the vectors would take eight times what they are stored in
        point = {"id": point["id"], "payload": point["payload"], "text": point["text"], "kept": kept}
    return Record(key_of(collection, point["id"]), point, digest, size, "point")
