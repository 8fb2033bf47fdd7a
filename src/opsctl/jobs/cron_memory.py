"""Keeps what a droplet's services use, one line a look, on the droplet itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from opsctl.jobs.call import STATE_DIR
from opsctl.jobs.memory import sample
from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed
from opsctl.model.memory_facts import MemoryReader
from opsctl.model.ports import Script, Shell

FOLDER = f"{STATE_DIR}/history"
FILE = f"{FOLDER}/memory.jsonl"
_LARGEST = 1 << 20  # bytes: about two weeks of lines every five minutes
_OLD = 4

# The time is the droplet's; the line is whole or not there, for O_APPEND writes of this size are.
_APPEND = r"""
set -e
umask 022
file=$1 largest=$2 old=$3 rest=$4
mkdir -p -- "${file%/*}"
exec 9>"${file%/*}/.lock"; flock -w 5 9
if [ "$(stat -c %s -- "$file" 2>/dev/null || echo 0)" -gt "$largest" ]; then
  for ((n = old - 1; n >= 1; n--)); do [ ! -e "$file.$n" ] || mv -f -- "$file.$n" "$file.$((n + 1))"; done
  mv -f -- "$file" "$file.1"
fi
read -r boot </proc/sys/kernel/random/boot_id
stamp=$(date -u +%FT%TZ)
printf '{"at":"%s","boot":"%s",%s\n' "$stamp" "${boot%%-*}" "$rest" >>"$file"
printf '%s\n' "$stamp"
"""


@dataclass(frozen=True)
class Recorded:
    """One line of the history. Bytes; `services` by name."""

    at: str
    file: str
    total: int
    available: int
    services: dict[str, int]


def record(shell: Shell, reader: MemoryReader, droplet: str, *, cancel: Cancel) -> Recorded:
    """Look, and keep it on the droplet. Raises OpsError."""
    seen = sample(shell, reader, cancel=cancel)
    services: dict[str, int] = {}
    for each in seen.containers.values():
        name = each.service or each.name
        if each.memory is not None and each.memory.used is not None:
            services[name] = services.get(name, 0) + each.memory.used
    line = {"total": seen.total, "available": seen.available, "services": dict(sorted(services.items()))}
    rest = json.dumps(line, separators=(",", ":"))[1:]
    done = shell.run(Script(_APPEND, (FILE, str(_LARGEST), str(_OLD), rest)), cancel=cancel, timeout=20)
    if done.code != 0:
        raise StepFailed(
            f"{FILE} on {droplet} could not be written",
            why=(done.error_text.splitlines() or [f"exit status {done.code}"])[-1],
            next="opsctl doctor",
        )
    return Recorded(done.text.strip(), FILE, seen.total, seen.available, services)
