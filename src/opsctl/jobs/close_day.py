"""A day's tenant is summarised and put to rest: read page by page, summary kept and read back, only then at rest."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.collections import ClosedDay, Collection, CollectionStore, Declared, Summariser
from opsctl.model.errors import ConfigError, StepFailed, UsageError
from opsctl.model.stackfile_problem import nearest
from opsctl.model.vector_object import Value, VectorObject

_PAGE = 500  # objects in memory at a time
_LONGEST = 200_000  # characters of a summary
_COMMAND = "opsctl collections close-day"


@dataclass(frozen=True)
class Closing:
    """What is wanted. `file` keeps the summary instead of the declared collection; no summariser: none is made."""

    day: str
    collection: str = "Session"
    summariser: Summariser | None = None
    file: Path | None = None
    offload: bool = False
    again: bool = False  # a new summary, even where one of as many objects is there
    dry_run: bool = False


def parse_day(text: str, now: datetime) -> str:
    """yyyymmdd of 2026-11-27, 20261127 or yesterday, UTC. Raises UsageError for none, and for a day not yet over."""
    today = now.astimezone(UTC).date()
    if text == "yesterday":
        return f"{today - timedelta(days=1):%Y%m%d}"
    plain = text.replace("-", "") if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text
    try:
        day = datetime.strptime(plain, "%Y%m%d").date()
    except ValueError:
        raise UsageError(
            f"{text!r} is no day", why="expected 2026-11-27, 20261127 or yesterday", next=f"{_COMMAND} yesterday"
        ) from None
    if day >= today:
        when = "today" if day == today else "yet to come"
        raise UsageError(
            f"{day} is {when}, and a day is closed when it is over",
            why=f"in UTC it is {now.astimezone(UTC):%Y-%m-%d %H:%M}",
            next=f"{_COMMAND} yesterday",
        )
    return f"{day:%Y%m%d}"


def close_day(store: CollectionStore, declared: Declared, wanted: Closing, cancel: Cancel) -> ClosedDay:
    """Summarise a day and put its tenant to rest; one that rests already is `unchanged`.

    Raises UsageError for a day or collection that is not there, ConfigError where a summary has no place or the
    server cannot offload, StepFailed where no summary came. A failure leaves the tenant awake.
    """
    collection = _declared(declared, wanted.collection)
    goal = "OFFLOADED" if wanted.offload else "INACTIVE"
    if wanted.offload:
        _check_offload(store, cancel)
    state = _state(store, wanted, cancel)
    if state == goal or state == "OFFLOADED":
        return ClosedDay(collection.name, wanted.day, "unchanged", state, None)
    notes: list[str] = []
    if state != "ACTIVE":
        notes.append("it was at rest already, and is only offloaded: without a new summary")
        return _put_to_rest(
            store, wanted, ClosedDay(collection.name, wanted.day, "closed", goal, None, notes=tuple(notes)), cancel
        )
    count = store.count(collection.name, wanted.day, cancel)
    place = _place(declared, collection, wanted) if wanted.summariser is not None else None
    done = ClosedDay(collection.name, wanted.day, "closed", goal, count, place.shown if place else "")
    if wanted.dry_run:
        return replace(done, outcome="would-close", notes=_what_would(wanted, place))
    if place is not None and wanted.summariser is not None:
        done = _summarised(store, wanted, wanted.summariser, place, done, cancel)
    return _put_to_rest(store, wanted, done, cancel)


def _put_to_rest(store: CollectionStore, wanted: Closing, done: ClosedDay, cancel: Cancel) -> ClosedDay:
    if wanted.dry_run:
        return replace(done, outcome="would-close")
    store.set_tenants(done.collection, {done.tenant: done.state}, cancel)
    return done


def _declared(declared: Declared, name: str) -> Collection:
    found = declared.collections.get(name)
    by_day = [each.name for each in declared.collections.values() if each.tenants]
    if found is not None and found.tenants is not None:
        return found
    why = f"{declared.file} declares {', '.join(by_day) or 'none'} with a tenant a day"
    near = nearest(name, by_day) or (by_day[0] if by_day else "NAME")
    what = f"{name} has no tenant a day" if found is not None else f"{declared.file} declares no collection {name}"
    raise UsageError(what, why=why, next=f"{_COMMAND} --collection {near}")


def _state(store: CollectionStore, wanted: Closing, cancel: Cancel) -> str:
    states = store.tenants(wanted.collection, cancel)
    if wanted.day in states:
        return states[wanted.day]
    awake = sorted((name for name, state in states.items() if state == "ACTIVE"), reverse=True)
    shown = ", ".join(awake[:5]) + (" …" if len(awake) > 5 else "")
    raise UsageError(
        f"{wanted.collection} has no tenant {wanted.day}",
        why=f"active are {shown}" if awake else "no tenant of it is active",
        next=f"{_COMMAND} {awake[0]}" if awake else "opsctl collections status",
    )


def _check_offload(store: CollectionStore, cancel: Cancel) -> None:
    if not any(each.startswith("offload-") for each in store.modules(cancel)):
        raise ConfigError(
            f"Weaviate at {store.address} cannot offload tenants",
            why="the module offload-s3 is not among those it runs with",
            next=f"{_COMMAND}   (without --offload: the tenant rests on the server's own disk)",
        )


# The summary and its place


@dataclass(frozen=True)
class _Place:
    """Where a summary is kept: an object of a collection, or a file."""

    shown: str
    collection: Collection | None = None
    id: str = ""
    file: Path | None = None


def _place(declared: Declared, collection: Collection, wanted: Closing) -> _Place:
    if wanted.file is not None:
        return _Place(str(wanted.file), file=wanted.file)
    target = declared.collections.get(collection.tenants.summary) if collection.tenants else None
    if target is None:
        raise ConfigError(
            f"there is no place for the summary of {collection.name}",
            why=f"{declared.file} names none under {collection.name}.tenants.summary",
            next=f"{_COMMAND} --summary-file summaries/{wanted.day}.txt",
        )
    if target.properties.get("text") is None or target.tenants is not None:
        what = "has no property text" if target.tenants is None else "has tenants, and would be put to rest, too"
        raise ConfigError(
            f"{target.name} cannot keep a summary",
            why=f"it {what}",
            next=f"correct {collection.name}.tenants.summary in {declared.file}",
        )
    name = str(uuid.uuid5(uuid.NAMESPACE_DNS, _key(collection.name, wanted.day)))
    return _Place(f"{target.name}/{name}", target, name)


def _key(collection: str, day: str) -> str:
    return f"summary:{collection}:{day}"


def _what_would(wanted: Closing, place: _Place | None) -> tuple[str, ...]:
    if place is None or wanted.summariser is None:
        return ("no summary would be made",)
    return (
        f"{wanted.summariser.name} would be given the objects as JSON lines",
        f"its summary would be in {place.shown}",
    )


def _summarised(
    store: CollectionStore, wanted: Closing, summariser: Summariser, place: _Place, done: ClosedDay, cancel: Cancel
) -> ClosedDay:
    kept = _kept(store, place, done, cancel)
    if kept and not wanted.again:
        return replace(done, characters=len(kept), notes=("the summary of these objects was there already",))
    if not done.objects:
        return replace(done, summary="", notes=("nothing was said on that day: there is no summary",))
    seen = 0

    def lines() -> Iterator[bytes]:
        nonlocal seen
        for page in store.pages(done.collection, done.tenant, _PAGE, cancel):
            seen += len(page)
            for name, properties in page:
                yield json.dumps({"id": name, **properties}, ensure_ascii=False).encode(errors="replace") + b"\n"

    facts = {"OPSCTL_COLLECTION": done.collection, "OPSCTL_DAY": done.tenant, "OPSCTL_OBJECTS": str(done.objects)}
    text = summariser.summarise(lines(), facts, cancel).strip()
    if not text or len(text) > _LONGEST:
        what = "gave no summary" if not text else f"gave {len(text)} characters, more than {_LONGEST}"
        raise StepFailed(f"{summariser.name} {what}", why="the tenant is left awake", next=_COMMAND)
    if place.file is not None:
        _write(place.file, text)
    elif place.collection is not None:
        body = VectorObject(_properties(place.collection, done, text))
        store.put(place.collection.name, "", place.id, body, cancel)
    notes = () if place.file else ("the summary has no vector: keywords find it, and so does a hybrid search",)
    return replace(done, objects=max(done.objects, seen), characters=len(text), notes=notes)


def _properties(target: Collection, done: ClosedDay, text: str) -> Mapping[str, Value]:
    day = datetime.strptime(done.tenant, "%Y%m%d")
    every: dict[str, Value] = {
        "text": text,
        "tags": ["summary", done.collection],
        "timestamp": f"{day:%Y-%m-%d}T00:00:00Z",
        "key": _key(done.collection, done.tenant),
        "extra": json.dumps({"tenant": done.tenant, "objects": done.objects}),
    }
    return {name: value for name, value in every.items() if name in target.properties}


def _kept(store: CollectionStore, place: _Place, done: ClosedDay, cancel: Cancel) -> str:
    """A summary of an earlier try that is of as many objects."""
    if place.collection is None:
        return ""
    found = store.get(place.collection.name, "", place.id, cancel)
    if found is None:
        return ""
    same = found.properties.get("extra") == json.dumps({"tenant": done.tenant, "objects": done.objects})
    return str(found.properties.get("text", "")) if same else ""


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and read back."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made.touch(0o600)
        made.write_text(text + "\n", encoding="utf-8")
        made.replace(path)
        written = path.read_text(encoding="utf-8")
    except OSError as error:
        made.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written", why=error.strerror or str(error), next=f"ls -ld {path.parent}"
        ) from None
    if written != text + "\n":
        raise StepFailed(f"{path} does not hold what was written", why="the tenant is left awake", next=_COMMAND)
