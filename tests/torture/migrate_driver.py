"""A migration as a process of its own, to be killed: from a real Redis into hashes of another database, by day.

`python migrate_driver.py JSON`, with source, sink (URLs), folder, run, action, workers, writers, day, refuse (the share
of objects that the sink refuses once), export_key and kill: `point:n`, to die by SIGKILL at the n-th passing of a named
point.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from opsctl.jobs import migrate, migrate_read, migrate_settle
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError
from opsctl.model.migrate import Described, Item, Limits, Record, Rejected, Removal, digest
from opsctl.model.migrate_run import Migration
from opsctl.model.secret import Secret
from opsctl.model.store import Target
from opsctl.spine.ledger import Ledger
from opsctl.spine.runfiles import Lines
from opsctl.stores.export_cipher import ExportCipher
from opsctl.stores.redis_source import RedisSource


def identity(key: bytes) -> str:
    """The id of a key's object."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, key.hex()))


class ByDay:
    """`yyyymmdd|text` goes to that day, what has no day to the one of its first sight; `bad` is refused."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def describe(self) -> Mapping[str, Any]:
        return {}

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        return [self._one(record, days[record.key]) for record in records]

    def _one(self, record: Record, first: str) -> Item | Rejected:
        if record.value.startswith(b"bad"):
            return Rejected(record.key, "it says so itself", "unparsable")
        day, found, text = record.value.partition(b"|")
        body = text if found else record.value
        group = day.decode() if found else first
        return Item(record.key, identity(record.key), body, digest(body), len(body), group, undated=not found)

    def close(self) -> None:
        return


class Days:
    """A hash for each day, id → body."""

    def __init__(self, url: str, refuse: float = 0.0) -> None:
        self._client = redis.Redis.from_url(url)
        self._refuse, self._luck = refuse, random.Random(1)

    def describe(self, cancel: Cancel) -> Described:
        return Described("Redis", "8", "the sink", "the sink")

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        return ()

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        return

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        refused = [item for item in items if len(items) > 1 and self._luck.random() < self._refuse]
        names = {item.key for item in refused}
        with self._client.pipeline(transaction=False) as line:
            for item in items:
                if item.key not in names:
                    line.hset(item.group, item.id, item.body)
            line.execute()
        return [Rejected(item.key, "not now") for item in refused]

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        with self._client.pipeline(transaction=False) as line:
            for item in items:
                line.hget(item.group, item.id)
            return [None if each is None else digest(each) for each in line.execute()]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        found = {}
        for group in self._client.keys("*"):
            there = self._client.hmget(group, list(ids))
            found |= {name: group.decode() for name, body in zip(ids, there, strict=True) if body is not None}
        return found

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        return [self._remove(*each) for each in written]

    def _remove(self, name: str, group: str, known: bytes) -> Removal:
        there = self._client.hget(group, name)
        if there is None:
            return Removal.GONE
        if digest(there) != known:
            return Removal.CHANGED
        self._client.hdel(group, name)
        return Removal.REMOVED

    def close(self) -> None:
        self._client.close()


POINTS: dict[str, tuple[type, str, bool]] = {
    "before-export": (Lines, "append", False),
    "after-export": (Lines, "append", True),
    "before-write": (Days, "write", False),
    "after-write": (Days, "write", True),
    "after-read-back": (Days, "read", True),
    "before-ledger": (Ledger, "put", False),
    "after-ledger": (Ledger, "put", True),
    "before-removal": (RedisSource, "remove", False),
    "after-removal": (RedisSource, "remove", True),
    "after-mark": (Ledger, "mark", True),
}


def die_at(point: str, times: int) -> None:
    """Arm a point: the process kills itself there, as if somebody pulled the plug."""
    owner, name, after = POINTS[point]
    whole: Callable[..., Any] = getattr(owner, name)
    passed = iter(range(times))

    def armed(*given: Any, **more: Any) -> Any:
        last = next(passed, None) is None
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*given, **more)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, armed)


def main(told: Mapping[str, Any]) -> int:
    """Do it, and print the receipt or what went wrong."""
    if told.get("kill"):
        point, _, times = str(told["kill"]).partition(":")
        die_at(point, int(times))
    migrate_read.today = lambda: str(told["day"])  # type: ignore[attr-defined]
    migrate_settle.ROWS = 200  # type: ignore[misc]
    folder = Path(told["folder"])
    m = Migration(
        name="redis-to-days",
        run_id=told["run"],
        source=RedisSource(Target("redis", Secret(told["source"]), "source", "source")),
        transform=ByDay(told["workers"]),
        sink=Days(told["sink"], told.get("refuse", 0.0)),
        folder=folder / told["run"],
        ledger=folder / "ledger.db",
        limits=Limits(batch=50, writers=told["writers"], queue=2),
        cancel=Cancel(),
        report=lambda _: None,
        cipher=ExportCipher(Secret(told["export_key"]), "source") if "export_key" in told else None,
    )
    try:
        receipt = migrate.run(m, delete=True) if told["action"] == "delete" else getattr(migrate, told["action"])(m)
    except OpsError as error:
        print(json.dumps({"error": error.info.what, "why": error.info.why}))
        return int(error.exit_code)
    finally:
        m.source.close()
        m.sink.close()
    print(
        json.dumps({"wanted": receipt.wanted_checksum, "stored": receipt.stored_checksum, "outcome": receipt.outcome})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
