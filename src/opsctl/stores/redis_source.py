"""A Redis, Valkey or Dragonfly as the source of a migration."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Described, Estimate, Record, Removal
from opsctl.model.redis_value import Held, from_json, held, to_json, to_json_text
from opsctl.model.store import Target
from opsctl.stores.redis_info import keys as keys_in
from opsctl.stores.redis_link import RedisLink
from opsctl.stores.redis_read import Reading
from opsctl.stores.redis_walk import Walk
from opsctl.stores.redis_write import removed, restored

_SAMPLE = 10  # pages of keys that an estimate looks at


class RedisSource:
    """The keys that `match` (a glob of Redis) names. Strings come as bytes, hashes as a mapping of bytes.

    With `reading.whole` every type is read, as `Held`; else other types come with a fault, as do values too large.
    """

    def __init__(self, target: Target, match: str = "*", reading: Reading | None = None) -> None:
        self._target = target
        self._match = match
        self._reading = reading or Reading()
        self._link = RedisLink(target)

    def describe(self, cancel: Cancel) -> Described:
        """Which server it is. Raises UnreachableError, ConfigError."""
        server = self._link.server(cancel)
        target = self._target
        notes = tuple(f"{target.shown}: {each}" for each in server.notes)
        return Described(server.product, server.version, target.shown, target.identity, notes)

    def estimate(self, cancel: Cancel) -> Estimate:
        """The number of keys; by a sample, where only some are meant."""
        every = keys_in(self._link.info(cancel), self._link.database)
        if self._match == "*" or not every:
            return Estimate(every)
        found, looked, cursor = 0, 0, b"0"
        for _ in range(_SAMPLE):
            cursor, page = self._link.call(("SCAN", cursor, "MATCH", self._match, "COUNT", 1000), cancel)
            found, looked = found + len(page), looked + 1000
            if cursor == b"0":
                return Estimate(found)
        return Estimate(round(found * max(1.0, every / looked)))

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        """As `Source.scan`: over short outages, and from the start again where the server was started anew."""
        # A connection of its own: its answers are on their way while others ask.
        link = RedisLink(self._target)
        walk = Walk(self._match, self._reading)
        try:
            while not walk.over:
                records = link.run(walk.step, cancel)
                for begin in range(0, len(records), batch):
                    yield records[begin : begin + batch]
        finally:
            link.close()

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        """These keys as they are now."""
        found = self._link.run(lambda line: self._reading.read(line, keys), cancel)
        return [found.get(key) for key in keys]

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Delete what still has its digest: compared and deleted by the server in one go."""
        reading = replace(self._reading, dumps=False)
        return self._link.run(lambda line: removed(line, reading, seen), cancel)

    def dump(self, record: Record) -> Mapping[str, Any]:
        """As `Source.dump`; TTLs as the millisecond they end."""
        return to_json(record.key, held(record, _ends(record)))

    def dump_text(self, record: Record) -> str | None:
        """As `DumpsText.dump_text`."""
        return to_json_text(record, _ends(record))

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        """Put back what is missing, never over something. Raises ConfigError for what is no dump."""
        pairs: list[tuple[bytes, Held]] = [from_json(each) for each in dumped]
        return self._link.run(lambda line: restored(line, pairs), cancel)

    def close(self) -> None:
        """End all connections."""
        self._link.close()


def _ends(record: Record) -> int | None:
    """The millisecond since 1970 in which it ends; None without a TTL."""
    return None if record.ttl is None else round((time.time() + record.ttl) * 1000)
