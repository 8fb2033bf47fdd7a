"""What a droplet remembers of its boot: who starts the stack, the policies of before, and what is to be up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class BootState:
    """The content of `boot.json`. `replay`: after a boot opsctl starts the stack, and the engine only phase 1."""

    replay: bool = False
    policies: Mapping[str, str] = field(default_factory=dict)  # service → the restart policy it had before
    up: tuple[str, ...] = ()  # the services that are to be up: what startup started and stop did not stop

    def to_text(self) -> str:
        """One line of JSON."""
        value = {"version": 1, **asdict(self), "policies": dict(sorted(self.policies.items())), "up": list(self.up)}
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parse_boot(text: str) -> BootState:
    """What stands in the file; nothing where there is none, or where it cannot be read."""
    try:
        value: Any = json.loads(text) if text.strip() else {}
    except ValueError:
        return BootState()
    if not isinstance(value, dict):
        return BootState()
    policies, up = value.get("policies"), value.get("up")
    return BootState(
        bool(value.get("replay")),
        {str(key): str(each) for key, each in policies.items()} if isinstance(policies, dict) else {},
        tuple(str(each) for each in up) if isinstance(up, list) else (),
    )
