"""Declared collections against a server: what differs, and what of it is mended in place. Nothing is ever deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as Several
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.collections import (
    Collection,
    CollectionsReport,
    CollectionStore,
    Declared,
    Difference,
    Doing,
    LiveCollection,
)
from opsctl.model.errors import ErrorInfo, ExitCode, OpsError, UsageError
from opsctl.model.result import DropletResult
from opsctl.model.stackfile_problem import nearest

_MENDED = (Doing.CREATE, Doing.ADD, Doing.CHANGE)


def status(store: CollectionStore, declared: Declared, cancel: Cancel) -> CollectionsReport:
    """What is declared, what is there, what differs."""
    version, schema = store.version(cancel), store.schema(cancel)
    counts = store.counts(cancel)
    found = [
        _live(store, each, schema.get(each.name), version, counts, cancel) for each in declared.collections.values()
    ]
    for name in sorted(set(schema) - set(declared.collections)):
        found.append(_filled(store, LiveCollection(name, "undeclared"), schema[name], counts, cancel))
    refused = sum(each.doing is Doing.REFUSE for one in found for each in one.differences)
    return CollectionsReport(store.address, version, declared.file, tuple(found), refused=refused)


def apply(
    store: CollectionStore, declared: Declared, cancel: Cancel, *, only: Several[str] = (), dry_run: bool = False
) -> DropletResult[CollectionsReport]:
    """Make and change what can be made and changed in place; what cannot is told with the reason, exit 5 or 1.

    A second call finds nothing to do. Raises UsageError for a name that is not declared.
    """
    wanted = _chosen(declared, only)
    version, schema = store.version(cancel), store.schema(cancel)
    found: list[LiveCollection] = []
    changed = refused = 0
    for each in wanted:
        cancel.check(f"collection {each.name}")
        live = _live(store, each, schema.get(each.name), version, None, cancel)
        if not dry_run:
            live = _mend(store, each, live, cancel)
        changed += sum(one.done or (dry_run and one.doing in _MENDED) for one in live.differences)
        refused += sum(one.doing is Doing.REFUSE for one in live.differences)
        found.append(live)
    report = CollectionsReport(store.address, version, declared.file, tuple(found), dry_run, changed, refused)
    if not refused:
        return DropletResult("", report)
    code = ExitCode.PARTIAL if changed else ExitCode.FAILED
    return DropletResult("", report, _refused(found), code)


def _refused(found: list[LiveCollection]) -> ErrorInfo:
    every = [each for one in found for each in one.differences if each.doing is Doing.REFUSE]
    first = every[0]
    more = f"{len(every)} differences cannot" if len(every) > 1 else f"{first.collection}.{first.path} cannot"
    return ErrorInfo("refused", f"{more} be changed in place", first.why, first.next)


def _chosen(declared: Declared, only: Several[str]) -> list[Collection]:
    for name in only:
        if name not in declared.collections:
            near = nearest(name, declared.collections)
            raise UsageError(
                f"{declared.file} declares no collection {name}",
                why=f"it declares {', '.join(declared.collections) or 'none'}",
                next=f"opsctl collections apply --collection {near or next(iter(declared.collections), 'NAME')}",
            )
    return [each for name, each in declared.collections.items() if not only or name in only]


def _mend(store: CollectionStore, wanted: Collection, live: LiveCollection, cancel: Cancel) -> LiveCollection:
    todo = [each for each in live.differences if each.doing in _MENDED]
    if not todo:
        return live
    if todo[0].doing is Doing.CREATE:
        _create(store, wanted, cancel)
    else:
        store.alter(wanted, todo, cancel)
    after = store.compare(wanted, store.schema(cancel).get(wanted.name), store.version(cancel), cancel)
    left = {each.path for each in after if each.doing in _MENDED}
    if left:
        raise OpsError(
            f"{wanted.name} is not what was asked for: {', '.join(sorted(left)) or 'it is not there'}",
            why="the server took the change and did not make it",
            next="opsctl collections status",
        )
    done = tuple(replace(each, done=each.doing in _MENDED) for each in live.differences)
    return replace(live, state=_state(after), differences=done)


def _create(store: CollectionStore, wanted: Collection, cancel: Cancel) -> None:
    try:
        store.create(wanted, cancel)
    except OpsError:
        # Somebody else may have made it a moment ago; what differs then is found by comparing again.
        if wanted.name not in store.schema(cancel):
            raise


def _live(
    store: CollectionStore,
    wanted: Collection,
    settings: Mapping[str, Any] | None,
    version: str,
    counts: Mapping[str, int] | None,
    cancel: Cancel,
) -> LiveCollection:
    differences = store.compare(wanted, settings, version, cancel)
    if settings is None:
        return LiveCollection(wanted.name, "missing", differences=differences)
    live = LiveCollection(wanted.name, _state(differences), differences=differences)
    return _filled(store, live, settings, counts, cancel)


def _state(differences: tuple[Difference, ...]) -> str:
    return "differs" if any(each.doing is not Doing.KEEP for each in differences) else "as declared"


def _filled(
    store: CollectionStore,
    live: LiveCollection,
    settings: Mapping[str, Any],
    counts: Mapping[str, int] | None,
    cancel: Cancel,
) -> LiveCollection:
    by_tenant = bool((settings.get("multiTenancyConfig") or {}).get("enabled"))
    states = Counter(store.tenants(live.name, cancel).values()) if by_tenant else {}
    widths = store.widths(live.name, settings, cancel)
    vectors = tuple(_vector(name, each, widths) for name, each in (settings.get("vectorConfig") or {}).items())
    objects = counts.get(live.name, 0) if counts is not None else None
    return replace(live, objects=objects, tenants=dict(states), multi_tenant=by_tenant, vectors=vectors)


def _vector(name: str, settings: Mapping[str, Any], widths: Mapping[str, int]) -> str:
    index = settings.get("vectorIndexConfig") or {}
    graph = index.get("hnsw", index)
    maker = next(iter(settings.get("vectorizer") or {"none": 0}))
    width = str(widths[name]) if name in widths else ""
    made = "" if maker == "none" else f"by {maker}"
    parts = (name, width, settings.get("vectorIndexType", ""), str(graph.get("filterStrategy", "")), made)
    return " ".join(part for part in parts if part)
