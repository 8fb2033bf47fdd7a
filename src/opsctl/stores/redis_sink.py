"""A Redis, Valkey, Dragonfly or a managed one as the sink of a migration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Described, Item, Rejected, Removal
from opsctl.model.redis_value import Held, id_key
from opsctl.model.store import Target
from opsctl.model.units import show_size
from opsctl.stores.redis_info import keys as keys_in
from opsctl.stores.redis_info import server_of
from opsctl.stores.redis_line import Command, Line, in_goes
from opsctl.stores.redis_link import RedisLink
from opsctl.stores.redis_read import Reading
from opsctl.stores.redis_write import put, removed, restore

_ALL = Reading(most=1 << 30, elements=1 << 20, whole=True, dumps=False)
_NEEDED = ("EVAL", "TYPE", "PTTL", "PEXPIREAT", "DEL")
_OF_KIND = {
    "string": ("SET", "MGET", "STRLEN"),
    "hash": ("HSET", "HGETALL", "HLEN"),
    "list": ("RPUSH", "LRANGE", "LLEN"),
    "set": ("SADD", "SMEMBERS", "SCARD"),
    "zset": ("ZADD", "ZRANGE", "ZCARD"),
    "stream": ("XADD", "XRANGE", "XLEN"),
}


class RedisSink:
    """Items whose body is a `Held`, under the key that their id names. An item that has come to its end since counts
    as stored: it is gone as it would be at the source.

    With `keep`, a key that is there with another content is refused and not replaced.
    """

    def __init__(self, target: Target, *, keep: bool = False) -> None:
        self._target = target
        self._keep = keep
        self._link = RedisLink(target)
        self._dumps = True  # until it refuses one

    def describe(self, cancel: Cancel) -> Described:
        """Which server it is, and what room it has. Raises UnreachableError, ConfigError for one that cannot take."""
        info = self._link.info(cancel)
        server = self._link.server(cancel)
        if info.get("role") in ("slave", "replica"):
            raise ConfigError(
                f"{self._target.shown} is a replica, which takes nothing",
                why=f"its primary is {info.get('master_host', 'another one')}",
                next="give the address of the primary",
            )
        return Described(server.product, server.version, self._target.shown, self._target.identity, self._notes(info))

    def _notes(self, info: Mapping[str, str]) -> tuple[str, ...]:
        said = list(server_of(info).notes)
        if there := keys_in(info, self._link.database):
            fate = "refused" if self._keep else "replaced"
            said.append(f"{there:,} keys are there already; what has the same name and another content is {fate}")
        if most := int(info.get("maxmemory", "0") or 0):
            left = max(0, most - int(info.get("used_memory", "0") or 0))
            said.append(f"{show_size(left)} are free of the {show_size(most)} that it may use (maxmemory)")
        return tuple(f"{self._target.shown}: {each}" for each in said)

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        """The commands that it lacks for items like these."""
        kinds = dict.fromkeys(item.body.kind for item in sample if isinstance(item.body, Held))
        wanted = dict.fromkeys([*_NEEDED, *(name for kind in kinds for name in _OF_KIND[kind])])
        answer = self._link.ask([("COMMAND", "INFO", *wanted)], cancel)[0]
        if isinstance(answer, Exception) or len(answer) != len(wanted):
            return []  # it tells nothing of its commands; what it lacks then shows at the first write
        lacking = [name for name, known in zip(wanted, answer, strict=True) if not known]
        return [f"{self._target.shown} does not know {', '.join(lacking)}"] if lacking else []

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        """Nothing to prepare."""

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        """Set the keys, with the time they end. Raises ConfigError when the server is full or takes no writes."""
        return self._link.run(lambda line: self._written(line, items), cancel)

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        """The digests of type and content."""
        found = self._link.run(lambda line: _ALL.read(line, [id_key(item.id) for item in items]), cancel)
        records = [found.get(id_key(item.id)) for item in items]
        return [
            record.digest if record is not None else item.digest if _ended(item) else None
            for item, record in zip(items, records, strict=True)
        ]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        """There are no groups in a Redis."""
        return {}

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        """Take back what still is what was written."""
        seen = [(id_key(name), digest) for name, _group, digest in written]
        return self._link.run(lambda line: removed(line, _ALL, seen), cancel)

    def close(self) -> None:
        """End all connections."""
        self._link.close()

    def _written(self, line: Line, items: Sequence[Item]) -> list[Rejected]:
        live = [item for item in items if not _ended(item)]
        answers = in_goes(line, [self._command(item) for item in live])
        # A dump of another version, or no RESTORE at all: plain commands do as well, but for a stream's groups.
        again = [number for number, item in enumerate(live) if _by_dump(item, answers[number])]
        if again:
            if any("bad data format" not in str(answers[number]).lower() for number in again):
                self._dumps = False  # it will take none of the others either
            plain = in_goes(line, [put("replace", id_key(live[number].id), live[number].body) for number in again])
            for number, answer in zip(again, plain, strict=True):
                answers[number] = answer
        return [refused for item, answer in zip(live, answers, strict=True) if (refused := self._refused(item, answer))]

    def _command(self, item: Item) -> Command:
        key, value = id_key(item.id), item.body
        if self._keep:
            return put("new", key, value)
        if value.kind == "string":
            left = [] if value.ends is None else ["PX", max(1, value.ends - round(time.time() * 1000))]
            return ("SET", key, value.parts[0], *left)
        return restore(key, value, replace=True) if value.dump and self._dumps else put("replace", key, value)

    def _refused(self, item: Item, answer: Any) -> Rejected | None:
        if answer == b"differs":
            return Rejected(item.key, "it is there already, with another content", "exists")
        if not isinstance(answer, Exception):
            return None
        if code := _for_all(answer):
            raise ConfigError(
                f"{self._target.shown} takes no more writes",
                why=str(answer),
                next="mend that at the server, then: opsctl migrate resume last",
                code=code,
            )
        return Rejected(item.key, str(answer))


def _by_dump(item: Item, answer: Any) -> bool:
    """Whether a write failed for its dump's sake."""
    if not isinstance(answer, Exception) or not item.body.dump:
        return False
    said = str(answer).lower()
    return "payload" in said or "bad data format" in said or "unknown command" in said or "restore" in said


def _for_all(error: Exception) -> str:
    """Whether an error is not about one key: every other write would meet it, too. A code for it, else nothing."""
    from redis import exceptions as redis

    # redis-py makes classes of some codes, and takes them out of the text.
    if isinstance(error, redis.OutOfMemoryError) or "max daily request limit" in str(error).lower():
        return "full"
    if isinstance(error, redis.ReadOnlyError | redis.NoPermissionError):
        return "refused"
    return "refused" if str(error).startswith(("MISCONF", "NOREPLICAS", "READONLY")) else ""


def _ended(item: Item) -> bool:
    ends = item.body.ends if isinstance(item.body, Held) else None
    return ends is not None and ends <= time.time() * 1000
