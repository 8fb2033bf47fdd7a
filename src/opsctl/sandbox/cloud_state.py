"""What the stand-in for the provider's API remembers, in one file that is whole at any time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opsctl.sandbox.identity import write_private

FAULTS = {
    "429": "so many requests are refused for the rate limit",
    "500": "so many requests end in a server error",
    "502": "so many requests end in a bad gateway",
    "503": "so many requests find the service unavailable",
    "reset": "so many connections are reset before the answer, nothing done",
    "lost": "so many answers to a change are lost: done, and the connection is reset",
    "errored": "so many actions end as errored, nothing done",
    "stays-off": "so many actions are said to be completed while the droplet stays off",
    "slow": "every request takes so many seconds",
    "action-time": "every action takes at least so many seconds",
    "retry-after": "what a refusal for the rate limit says in Retry-After, in seconds",
}
_DEFAULTS = {"action-time": 1.0, "retry-after": 1.0}
_KEPT = 500


def now() -> str:
    """The time as the API writes it."""
    return stamp(datetime.now(UTC).timestamp())


def stamp(seconds: float) -> str:
    """A time as the API writes it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


class State:
    """Actions, snapshots, volumes, domains, sizes of droplets, and the faults that are switched on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        for name, first in (("actions", []), ("snapshots", []), ("volumes", []), ("domains", {}), ("droplets", {})):
            self._said.setdefault(name, first)
        self._said.setdefault("next", 10_000_001)
        self._said.setdefault("faults", {})
        for action in self.actions:
            if action["status"] == "in-progress":  # whoever worked on it was killed
                action.update(status="errored", completed_at=now())

    @contextmanager
    def change(self) -> Iterator[State]:
        """Change what is remembered; written when the block ends."""
        with self._lock:
            yield self
            del self.actions[:-_KEPT]
            write_private(self._path, json.dumps(self._said, indent=1) + "\n")

    def number(self) -> int:
        """A number nothing has yet; inside `change`."""
        self._said["next"] += 1
        return int(self._said["next"])

    @property
    def actions(self) -> list[dict[str, Any]]:
        """Oldest first, in the API's own shape."""
        found: list[dict[str, Any]] = self._said["actions"]
        return found

    @property
    def snapshots(self) -> list[dict[str, Any]]:
        """Of droplets and of volumes, in the API's own shape."""
        found: list[dict[str, Any]] = self._said["snapshots"]
        return found

    @property
    def volumes(self) -> list[dict[str, Any]]:
        """In the API's own shape."""
        found: list[dict[str, Any]] = self._said["volumes"]
        return found

    @property
    def domains(self) -> dict[str, dict[str, Any]]:
        """By name: `ttl` and `records`."""
        found: dict[str, dict[str, Any]] = self._said["domains"]
        return found

    @property
    def droplets(self) -> dict[str, dict[str, Any]]:
        """What a droplet is rented as, by name: `size`, `disk`, `created_at`, `tags`."""
        found: dict[str, dict[str, Any]] = self._said["droplets"]
        return found

    def faults(self) -> dict[str, float]:
        """What is switched on, defaults included."""
        with self._lock:
            return {**_DEFAULTS, **self._said["faults"]}

    def set_faults(self, wanted: dict[str, float] | None) -> None:
        """Switch faults on (0: off); None: all off."""
        with self.change():
            kept = {} if wanted is None else {**self._said["faults"], **wanted}
            self._said["faults"] = {name: value for name, value in kept.items() if value or name in _DEFAULTS}

    def take(self, *names: str) -> str | None:
        """Use up one of the faults that count, the first of these that is switched on."""
        with self._lock:
            for name in names:
                if (left := self._said["faults"].get(name, 0)) >= 1:
                    self.set_faults({name: left - 1})
                    return name
        return None
