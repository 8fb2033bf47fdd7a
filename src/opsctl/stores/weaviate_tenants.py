"""Tenants of one collection: made, woken, put back to rest; what is known of them is remembered."""

from __future__ import annotations

import threading
from collections.abc import Collection

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError
from opsctl.stores.weaviate_rest import WeaviateRest

_MOVING = ("ONLOADING", "OFFLOADING")


class TenantKeeper:
    """Knows which tenants are awake. Safe to use from several threads.

    The server can create and wake tenants by itself, but not at every call (reads of a tenant that another client has
    just put to rest fail), so it is asked for in so many words.
    """

    def __init__(self, rest: WeaviateRest, collection: str) -> None:
        self._rest = rest
        self._collection = collection
        self._lock = threading.RLock()
        self._states: dict[str, str] = {}
        self._known = False
        self._woken: dict[str, str] = {}  # tenant → the state it was in before

    def count(self, cancel: Cancel) -> int:
        """How many tenants there are."""
        return len(self._load(cancel))

    def active(self, cancel: Cancel) -> tuple[str, ...]:
        """Those that are awake, the newest name first."""
        return tuple(sorted((name for name, state in self._load(cancel).items() if state == "ACTIVE"), reverse=True))

    def every(self, cancel: Cancel) -> tuple[str, ...]:
        """All of them, the newest name first."""
        return tuple(sorted(self._load(cancel), reverse=True))

    def ensure(self, wanted: Collection[str], cancel: Cancel) -> None:
        """Make these exist and be awake."""
        with self._lock:
            if all(self._states.get(name) == "ACTIVE" for name in wanted):
                return
            states = self._load(cancel)
            missing = [name for name in wanted if name not in states]
            if missing:
                self._rest.make_tenants(self._collection, missing, cancel)
                states.update(dict.fromkeys(missing, "ACTIVE"))
            self._wake([name for name in wanted if states[name] != "ACTIVE"], cancel)

    def wake(self, name: str, cancel: Cancel) -> bool:
        """Make one be awake that exists; False where it does not."""
        with self._lock:
            states = self._load(cancel)
            if name not in states:
                return False
            self._wake([name] if states[name] != "ACTIVE" else [], cancel)
            return True

    def forget(self, name: str) -> None:
        """What was remembered is not so (any more): ask again."""
        with self._lock:
            self._states.pop(name, None)
            self._known = False

    def back_to_rest(self, cancel: Cancel) -> None:
        """Put those that were woken back into the state they were in. What does not work is left awake."""
        with self._lock:
            woken, self._woken = self._woken, {}
            if woken:
                try:
                    self._rest.set_tenants(self._collection, woken, cancel)
                except OpsError:
                    return
                self._states.update(woken)

    def _load(self, cancel: Cancel) -> dict[str, str]:
        with self._lock:
            if not self._known:
                self._states = self._rest.tenants(self._collection, cancel)
                self._known = True
            return self._states

    def _wake(self, names: list[str], cancel: Cancel) -> None:
        if not names:
            return
        before = {name: self._states[name] for name in names}
        self._rest.set_tenants(self._collection, dict.fromkeys(names, "ACTIVE"), cancel)
        for name, state in before.items():
            self._woken.setdefault(name, "OFFLOADED" if state in _MOVING else state)
            self._states[name] = "ACTIVE"
