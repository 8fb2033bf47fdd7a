"""Sessions of a state file as keys of a Redis, and back: the JSON of each as it is, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.json_sessions import parsed, session_digest
from opsctl.model.migrate import Item, Record, Rejected
from opsctl.model.redis_value import Held, key_id, string_digest
from opsctl.model.units import show_duration


class SessionsToKeys:
    """`prefix` + id is the key. `ttl` in seconds, from the moment it is written; None is for ever."""

    workers = 1

    def __init__(self, prefix: str, ttl: float | None) -> None:
        self._prefix = prefix
        self._ttl = ttl

    def describe(self) -> Mapping[str, Any]:
        """What becomes of TTLs, which slide only if somebody lets them."""
        if self._ttl is None:
            return {"expires": "sessions do not expire before the application gives them a TTL of its own"}
        return {
            "expires": f"a session lives {show_duration(self._ttl)} from when it is written; whoever uses it has to "
            f"renew that (GETEX key EX {self._ttl:.0f}), else it is gone then; the file and the run's export stay"
        }

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        """One item a session."""
        ends = None if self._ttl is None else round((time.time() + self._ttl) * 1000)
        return [
            Item(
                each.key,
                key_id(self._prefix.encode() + each.key),
                Held("string", (each.value,), ends=ends),
                string_digest(each.value),
                each.size,
            )
            for each in records
        ]

    def close(self) -> None:
        """Nothing to free."""


class KeysToSessions:
    """The way back: what comes after `prefix` is the session's id. What is no JSON object is refused."""

    workers = 1

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()

    def describe(self) -> Mapping[str, Any]:
        """What becomes of TTLs."""
        return {"ttl": "a file expires nothing: what is left of a session's TTL is in the run's export only"}

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        """One item a key."""
        return [self._item(each) for each in records]

    def close(self) -> None:
        """Nothing to free."""

    def _item(self, record: Record) -> Item | Rejected:
        if not isinstance(record.value, bytes):
            return Rejected(record.key, f"a {record.kind}, and a session is a string of JSON", "wrong-type")
        try:
            name = record.key.removeprefix(self._prefix).decode()
            value = parsed(record.value.decode())
        except UnicodeDecodeError:
            return Rejected(record.key, "it is no UTF-8 text", "unparsable")
        except ValueError as error:
            return Rejected(record.key, f"it is no JSON: {error}", "unparsable")
        if not isinstance(value, dict):
            return Rejected(record.key, "its JSON is no object", "unparsable")
        text = record.value.strip()
        return Item(record.key, name, text, session_digest(text), len(text))
