"""What is broken on a droplet: written down beside its keys, so that it can be undone exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from opsctl.sandbox.identity import write_private
from opsctl.sandbox.kinds import Spec


@dataclass(frozen=True)
class Broken:
    """One fault that stands on a droplet. `since` is UTC, ISO 8601."""

    what: str
    detail: str
    since: str
    service: str = ""
    boot_id: str = ""  # of the boot it ends with; empty for a fault that a reboot does not mend
    notes: Mapping[str, str] = field(default_factory=dict)  # what undoing it needs

    def over(self, boot_id: str) -> bool:
        """Whether another boot has ended it; False where nobody knows which boot this is."""
        return bool(self.boot_id and boot_id and self.boot_id != boot_id)


def load(spec: Spec) -> tuple[Broken, ...]:
    """The faults of a droplet, the oldest first; also those that a boot has ended since."""
    try:
        said = json.loads(_file(spec).read_text())
        return tuple(Broken(**each) for each in said["faults"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def save(spec: Spec, faults: Sequence[Broken]) -> None:
    """Write them down; none of them removes the note."""
    if not faults:
        _file(spec).unlink(missing_ok=True)
        return
    said = {"schema": "opsctl.sandbox-broken/1", "faults": [asdict(each) for each in faults]}
    write_private(_file(spec), json.dumps(said, indent=2) + "\n")


def standing(spec: Spec, boot_id: str) -> tuple[Broken, ...]:
    """The faults that no boot has ended, as far as `boot_id` (empty: unknown) tells."""
    return tuple(each for each in load(spec) if not each.over(boot_id))


def without_engine(spec: Spec) -> bool:
    """Whether its engine was broken so that it comes up with no boot."""
    return any(each.what == "docker-down" and not each.boot_id for each in load(spec))


def _file(spec: Spec) -> Path:
    return spec.folder / "broken.json"
