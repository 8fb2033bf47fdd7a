"""Who has which lease of a droplet: read without taking one. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from opsctl.model.lease import LeaseState
from opsctl.model.ports import Script

# Looking is a shared lock for a moment; who takes a lease waits longer than that.
_READ = r"""
read -r boot </proc/sys/kernel/random/boot_id
read -r up rest </proc/uptime
printf 'host %s %s\n' "$boot" "$up"
for lock in "$1"/lease/*.lock; do
  [ -e "$lock" ] || continue
  name=${lock##*/} name=${name%.lock} state=held note=
  flock -s -n "$lock" true && state=free
  [ "$state" = free ] && [ -e "$1/lease/$name.under" ] && ! flock -s -n "$1/lease/$name.under" true && state=held
  [ -s "$1/lease/$name.json" ] && read -r note <"$1/lease/$name.json"
  printf '%s %s %s\n' "$state" "$name" "$note"
done
"""
_MAIN = "stack"


_DATA = "data"


def file_of(scope: str) -> str:
    """The name of a scope's files, as the agent on the host makes it."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", scope)


def _scope_of(file: str) -> str:
    return f"{_DATA}:{file.removeprefix(f'{_DATA}-')}" if file.startswith(f"{_DATA}-") else file


def read(state_dir: str) -> Script:
    """Ask for every lease of a droplet; needs no lease and changes nothing."""
    return Script(_READ, (state_dir,))


def parse(text: str) -> tuple[LeaseState, ...]:
    """The leases; the one of the stack first, and free where it was never taken."""
    boot, up, found = "", 0.0, dict[str, LeaseState]()
    for line in text.splitlines():
        first, _, rest = line.partition(" ")
        name, _, note = rest.partition(" ")
        if first == "host":
            boot, up = name, float(note)
        elif first in ("held", "free"):
            found[name] = _state(_scope_of(name), held=first == "held", note=note, boot=boot, up=up)
    main = found.pop(_MAIN, LeaseState(_MAIN, "free"))
    return (main, *(found[name] for name in sorted(found)))


def _state(name: str, *, held: bool, note: str, boot: str, up: float) -> LeaseState:
    values = _note(note)
    if not held and not note.strip():
        return LeaseState(name, "free")
    same = values.get("boot_id", boot) == boot
    try:
        seconds = max(0.0, up - float(values["uptime"])) if same else None
    except (KeyError, ValueError):
        seconds = None
    return LeaseState(
        scope=name,
        state="held" if held else "abandoned",
        run=values.get("run", ""),
        user=values.get("user", ""),
        origin=values.get("from", ""),
        command=values.get("command", ""),
        opsctl=values.get("opsctl", ""),
        seconds=round(seconds, 1) if seconds is not None else None,
        this_boot=same,
        pid=int(values["pid"]) if values.get("pid", "").isdigit() else 0,
    )


def _note(text: str) -> dict[str, str]:
    try:
        value: Any = json.loads(text)
    except ValueError:  # written half by an owner that died right then
        return {}
    return {str(key): str(each) for key, each in value.items()} if isinstance(value, dict) else {}
