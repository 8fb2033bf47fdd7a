"""The memory history that `opsctl cron` records on a droplet, as far as advice needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.ports import Script, Shell

_LINES = 20_000
_READ = r"""shopt -s nullglob; for each in "$1"/history/memory.jsonl*; do tail -n "$2" -- "$each"; done"""


@dataclass(frozen=True)
class Sample:
    """One record: seconds since the epoch, and the bytes that each service held."""

    at: float
    services: Mapping[str, int]


def read(shell: Shell, state_dir: str, *, cancel: Cancel) -> tuple[Sample, ...]:
    """The samples, the oldest first; none where nothing was recorded."""
    answer = shell.run(Script(_READ, (state_dir, str(_LINES))), cancel=cancel, timeout=20.0)
    return parse(answer.text)


def parse(text: str) -> tuple[Sample, ...]:
    """Samples from JSON lines; a line that is none is left out."""
    found = (_sample(line) for line in text.splitlines())
    return tuple(sorted((each for each in found if each is not None), key=lambda each: each.at))


def _sample(line: str) -> Sample | None:
    try:
        value: dict[str, Any] = json.loads(line)
        at = value["at"]
        seconds = float(at) if isinstance(at, int | float) else datetime.fromisoformat(str(at)).timestamp()
        return Sample(seconds, {str(name): int(size) for name, size in value["services"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
