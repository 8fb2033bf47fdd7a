"""Keys as they are, from one Redis to another: type, content, and the moment they end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Item, Record, Rejected
from opsctl.model.redis_value import held, key_id


class KeysAsTheyAre:
    """Needs no more than one thread."""

    workers = 1

    def describe(self) -> Mapping[str, Any]:
        """What becomes of TTLs."""
        return {
            "ttl": "each key ends when it would have ended at the source; where only its TTL is renewed there later, "
            "that is not copied"
        }

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        """One item a record; its digest is the record's own."""
        now = time.time()
        return [
            Item(
                each.key,
                key_id(each.key),
                held(each, None if each.ttl is None else round((now + each.ttl) * 1000)),
                each.digest,
                each.size,
            )
            for each in records
        ]

    def close(self) -> None:
        """Nothing to free."""
