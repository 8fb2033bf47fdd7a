"""A source, a sink and a transform that keep everything in memory: our own protocols, for the engine's logic."""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.migrate import (
    Described,
    Estimate,
    Item,
    Limits,
    Progress,
    Record,
    Rejected,
    Removal,
    digest,
)
from opsctl.model.migrate_run import Migration


def nothing(*_: Any) -> None:
    """A hook that does nothing."""


@dataclass
class MemorySource:
    """Keys and values of bytes; `before` is called with the number of each batch before it is given."""

    values: dict[bytes, bytes]
    before: Callable[[int], None] = nothing
    repeat: int = 1  # how often a scan gives everything
    faults: set[bytes] = field(default_factory=set)
    ttls: dict[bytes, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def describe(self, cancel: Cancel) -> Described:
        return Described("memory", "1", "memory:source", "memory:source", ("a source of a test",))

    def estimate(self, cancel: Cancel) -> Estimate:
        return Estimate(len(self.values))

    def record(self, key: bytes, value: bytes) -> Record:
        fault = ("a type nobody reads", "wrong-type") if key in self.faults else ("", "unreadable")
        return Record(key, value, digest(value), len(value), "string", self.ttls.get(key), *fault)

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        number = 0
        for _ in range(self.repeat):
            keys = list(self.values)
            for start in range(0, len(keys), batch):
                self.before(number)
                cancel.check()
                number += 1
                yield [self.record(key, self.values[key]) for key in keys[start : start + batch] if key in self.values]

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        return [self.record(key, self.values[key]) if key in self.values else None for key in keys]

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        with self.lock:
            return [self._remove(*each) for each in seen]

    def _remove(self, key: bytes, known: bytes) -> Removal:
        if key not in self.values:
            return Removal.GONE
        if digest(self.values[key]) != known:
            return Removal.CHANGED
        del self.values[key]
        return Removal.REMOVED

    def dump(self, record: Record) -> Mapping[str, Any]:
        return {"key": base64.b64encode(record.key).decode(), "value": base64.b64encode(record.value).decode()}

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        outcomes = []
        for each in dumped:
            key, value = base64.b64decode(each["key"]), base64.b64decode(each["value"])
            there = self.values.setdefault(key, value) if key in self.values else None
            if there is None:
                self.values[key] = value
            outcomes.append("restored" if there is None else "there" if there == value else "differs")
        return outcomes

    def close(self) -> None:
        return


def identity(key: bytes) -> str:
    """The id of a key's item."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, key.hex()))


@dataclass
class MemoryTransform:
    """`day|text` goes to that day's group, what has no day to the day of its first sight; `bad` is refused."""

    workers: int = 2
    before: Callable[[], None] = nothing

    def describe(self) -> Mapping[str, Any]:
        return {"model": "none", "ttl": "TTLs are not kept"}

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        self.before()
        return [self._one(record, days[record.key]) for record in records]

    def _one(self, record: Record, first: str) -> Item | Rejected:
        if record.value == b"bad":
            return Rejected(record.key, "not JSON", "unparsable")
        day, found, text = record.value.partition(b"|")
        body = text if found else record.value
        group = day.decode() if found else first
        return Item(record.key, identity(record.key), body, digest(body), len(body), group, undated=not found)

    def close(self) -> None:
        return


@dataclass
class MemorySink:
    """Objects by group and id. `refuses` says whether an item is refused now; `tamper` changes what is kept."""

    stored: dict[tuple[str, str], bytes] = field(default_factory=dict)
    before: Callable[[], None] = nothing
    refuses: Callable[[Item], bool] = lambda _: False
    tamper: Callable[[Item], bytes] = lambda item: item.body
    findings: tuple[str, ...] = ()
    prepared: set[str] = field(default_factory=set)
    located: int = 0
    writes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def describe(self, cancel: Cancel) -> Described:
        return Described("memory", "1", "memory:sink", "memory:sink")

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        return self.findings

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        self.prepared |= set(groups)

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        self.before()
        with self.lock:
            self.writes += len(items)
            refused = [item for item in items if self.refuses(item)]
            for item in items:
                if item not in refused:
                    assert item.group in self.prepared
                    self.stored[item.group, item.id] = self.tamper(item)
        return [Rejected(item.key, "the server said no") for item in refused]

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        found = [self.stored.get((item.group, item.id)) for item in items]
        return [None if each is None else digest(each) for each in found]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        self.located += 1
        wanted = set(ids)
        with self.lock:
            return {found: group for group, found in self.stored if found in wanted}

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        outcomes = []
        with self.lock:
            for found, group, known in written:
                there = self.stored.get((group, found))
                if there is not None and digest(there) == known:
                    del self.stored[group, found]
                    outcomes.append(Removal.REMOVED)
                else:
                    outcomes.append(Removal.GONE if there is None else Removal.CHANGED)
        return outcomes

    def close(self) -> None:
        return


@dataclass
class Try:
    """A migration between memory stores, and what it reported."""

    folder: Path
    source: MemorySource
    sink: MemorySink = field(default_factory=MemorySink)
    transform: MemoryTransform = field(default_factory=MemoryTransform)
    limits: Limits = field(default_factory=lambda: Limits(batch=10, queue=2))
    cancel: Cancel = field(default_factory=Cancel)
    told: list[Progress] = field(default_factory=list)

    def run(self, name: str = "first", **more: Any) -> Migration:
        """One run of it, in a folder of its own; all share the ledger."""
        made = Migration(
            name="memory-to-memory",
            run_id=name,
            source=self.source,
            transform=self.transform,
            sink=self.sink,
            folder=self.folder / name,
            ledger=self.folder / "ledgers" / "memory.db",
            limits=self.limits,
            cancel=self.cancel,
            report=self.told.append,
        )
        return replace(made, **more)

    def whole(self) -> None:
        """Nothing lost, nothing doubled: every value that can be migrated is in the sink exactly once."""
        wanted = {
            identity(key): value.partition(b"|")[2] or value
            for key, value in self.source.values.items()
            if value != b"bad" and key not in self.source.faults
        }
        found = [name for _group, name in self.sink.stored]
        assert len(found) == len(set(found)), "an object is in two groups"
        assert {name: body for (_group, name), body in self.sink.stored.items()} == wanted


def numbered(count: int) -> dict[bytes, bytes]:
    """So many keys; every third has a day of its own."""
    return {b"k%d" % n: b"202501%02d|v%d" % (n % 28 + 1, n) if n % 3 == 0 else b"v%d" % n for n in range(count)}
