"""A hold on a droplet: while it is there, whatever starts by itself after a boot stands aside. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from opsctl.model.ports import Script

# One file a run: boot id, uptime (s), the host's clock (s), for how long (s), and in the second line why.
_PLACE = r"""
folder=$1/hold run=$2 reason=$3 seconds=$4
umask 002
read -r up rest </proc/uptime; read -r boot </proc/sys/kernel/random/boot_id
mkdir -p "$folder" || exit 1
printf '%s %s %s %s\n%s\n' "$boot" "${up%%.*}" "$EPOCHSECONDS" "$seconds" "${reason//$'\n'/ }" >"$folder/.$run" &&
  sync -- "$folder/.$run" && mv -f -- "$folder/.$run" "$folder/$run" || exit 1
sync -- "$folder"
"""

_LIFT = r"""
rm -f -- "$1/hold/$2" "$1/hold/.$2"
rmdir -- "$1/hold" 2>/dev/null || [ ! -e "$1/hold/$2" ]
"""

# In the boot that placed it a hold is timed by uptime. In a later one it is counted from that boot on, for a reset
# takes its time too; the host's clock only ends what is old, and only where it has not been put back.
READ = r"""
folder=$1/hold
read -r up rest </proc/uptime; read -r boot </proc/sys/kernel/random/boot_id; up=${up%%.*}
for file in "$folder"/*; do
  [ -f "$file" ] || continue
  { read -r its at clock seconds; read -r reason; } <"$file" || continue
  case "$at$clock$seconds" in ''|*[!0-9]*) continue ;; esac
  if [ "$its" = "$boot" ]; then
    left=$((at + seconds - up))
  else
    left=$((seconds - up))
    gone=$((EPOCHSECONDS - clock)); [ "$gone" -le "$seconds" ] || left=0
  fi
  [ "$left" -le 0 ] || printf '@@hold %s %s %s\n' "$left" "${file##*/}" "$reason"
done
exit 0
"""


@dataclass(frozen=True)
class Hold:
    """A hold that counts now; `left` is in seconds, after which it is over by itself."""

    run_id: str
    reason: str
    left: int


def place(state_dir: str, run_id: str, reason: str, seconds: float) -> Script:
    """Leave a hold that survives a reboot and is over by itself after `seconds`; again: counted anew from now."""
    return Script(_PLACE, (state_dir, run_id, reason, str(max(1, math.ceil(seconds)))))


def lift(state_dir: str, run_id: str) -> Script:
    """Take a hold away; one that is not there is no failure."""
    return Script(_LIFT, (state_dir, run_id))


def read(state_dir: str) -> Script:
    """Print the holds that count now, for `parse`; changes nothing."""
    return Script(READ, (state_dir,))


def parse(output: str) -> Hold | None:
    """What `read` printed: the hold that lasts longest; None where there is none."""
    found = [line.split(" ", 3) for line in output.splitlines() if line.startswith("@@hold ")]
    holds = [Hold(words[2], words[3] if len(words) > 3 else "", int(words[1])) for words in found]
    return max(holds, key=lambda each: each.left, default=None)
