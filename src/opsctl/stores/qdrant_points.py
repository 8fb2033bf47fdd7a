"""Reading and deleting points by id, for whichever side of a migration a server is on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import UnreachableError
from opsctl.model.migrate import Removal
from opsctl.model.qdrant_collection import CollectionSpec
from opsctl.model.qdrant_point import fingerprint, id_of
from opsctl.stores.qdrant_rest import Refusal, Rest, parsed, path_of

PAGE = 1_000  # points of one request
_NO_COLLECTION = 404


def by_collection(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Ids by collection, each once."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for collection, point in pairs:
        found[collection][point] = None
    return {collection: list(ids) for collection, ids in found.items()}


def specs(rest: Rest, wanted: Sequence[str], *, cancel: Cancel) -> Mapping[str, CollectionSpec]:
    """The collections of a server by name, all or the wanted ones, aliases resolved.

    Raises Refusal for one that is not there.
    """
    aliases: dict[str, list[str]] = defaultdict(list)
    for each in rest.get("/aliases", cancel=cancel)["aliases"]:
        aliases[each["collection_name"]].append(each["alias_name"])
    real = {alias: name for name, known in aliases.items() for alias in known}
    names = wanted or [each["name"] for each in rest.get("/collections", cancel=cancel)["collections"]]
    found = {}
    for name in sorted({real.get(each, each) for each in names}):
        info = rest.get(path_of(name), cancel=cancel)
        found[name] = CollectionSpec.of(name, info, tuple(sorted(aliases[name])))
    return found


def count(rest: Rest, collection: str, *, cancel: Cancel) -> int:
    """How many points there are, exactly."""
    answer = rest.call("POST", path_of(collection, "/points/count"), {"exact": True}, cancel=cancel)
    return int(answer["count"])


def retrieve(rest: Rest, collection: str, ids: Sequence[str], *, cancel: Cancel) -> Mapping[str, dict[str, Any]]:
    """Points with payload and vectors by id; without those that are not there, nor is any without the collection."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), PAGE):
        content = retrieve_raw(rest, collection, ids[start : start + PAGE], cancel=cancel)
        if not content:
            return found
        found.update((str(each["id"]), each) for each in parsed(content, "points"))
    return found


def retrieve_raw(rest: Rest, collection: str, ids: Sequence[str], *, cancel: Cancel) -> bytes:
    """The answer as it came, b"" where there is no such collection. At most a page of ids."""
    body = {"ids": [id_of(each) for each in ids], "with_payload": True, "with_vector": True}
    try:
        return rest.raw("POST", path_of(collection, "/points"), body, cancel=cancel)
    except Refusal as refusal:
        if refusal.status == _NO_COLLECTION:
            return b""
        raise refused(rest, f"reading points of {collection}", refusal) from None


def delete_same(rest: Rest, collection: str, seen: Mapping[str, bytes], *, cancel: Cancel) -> Mapping[str, Removal]:
    """Delete the points that still have these digests.

    Qdrant has no compare-and-delete: between the look and the deletion there are some milliseconds, so nobody may
    write there meanwhile. Few at a time keep them few.
    """
    done: dict[str, Removal] = {}
    there = retrieve(rest, collection, list(seen), cancel=cancel)
    same = []
    for point, digest in seen.items():
        if point not in there:
            done[point] = Removal.GONE
        elif fingerprint(there[point])[0] != digest:
            done[point] = Removal.CHANGED
        else:
            same.append(point)
            done[point] = Removal.REMOVED
    if same:
        body = {"points": [id_of(each) for each in same]}
        try:
            rest.call("POST", path_of(collection, "/points/delete?wait=true"), body, cancel=cancel)
        except Refusal as refusal:
            raise refused(rest, f"deleting points of {collection}", refusal) from None
    return done


def refused(rest: Rest, what: str, refusal: Refusal) -> UnreachableError:
    """For what a server of this protocol should not refuse."""
    return UnreachableError(
        f"Qdrant at {rest.shown} refused {what}", why=refusal.words, next="opsctl status", code="refused"
    )
