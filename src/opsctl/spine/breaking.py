"""Takes a lease away from whoever has it: everything that runs under it on the host is ended, and that is written down.

The lock itself decides when it is over: the script takes it as soon as the last process that had it open is gone.
"""

from __future__ import annotations

import json

from opsctl.model.ports import Script
from opsctl.spine.audit import RECORD
from opsctl.spine.holders import file_of

GONE, OTHER, STUBBORN, FORBIDDEN = 81, 82, 83, 84

_BREAK = (
    RECORD
    + r"""
folder=$1 lock=$1/lease/$2.lock under=$1/lease/$2.under note=$1/lease/$2.json broken=$1/lease/$2.broken
run=$3 why=$4 gone=81 other=82 stubborn=83 forbidden=84; shift 4
[ -e "$lock" ] || exit $gone
read -r line <"$note"
if [ -n "$run" ]; then case $line in *"\"run\": \"$run\""*) ;; "") exit $gone ;; *) exit $other ;; esac; fi
owners() { # the processes that have the lock open, this script's own excepted
  local f p
  for f in /proc/[0-9]*/fd/*; do
    if [ "$f" -ef "$lock" ] || [ "$f" -ef "$under" ]; then p=${f#/proc/}; printf '%s\n' "${p%%/*}"; fi
  done 2>/dev/null | sort -u
}
ended=$(owners)
count=0
[ -z "$ended" ] || count=$(printf '%s\n' "$ended" | wc -l)
[ -n "$ended" ] || flock -s -n "$lock" true || exit $forbidden  # held by somebody whose processes we may not see
(umask 002; printf '%s\n' "$why" >"$broken") || exit 85
# Only guards are asked, and what outlived one: a guard ends its scripts itself and tells its owner. The rest by force.
for p in $ended; do
  parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null)
  case $'\n'$ended$'\n' in *$'\n'"$parent"$'\n'*) continue ;; esac
  kill -TERM "$p" 2>/dev/null || [ ! -d "/proc/$p" ] || { rm -f "$broken"; exit $forbidden; }
done
exec 7<"$lock" 8<>"$under"
if ! { flock -w 4 7 && flock -w 1 8; } </dev/null; then
  exec 7<&- 8<&-
  for p in $(owners); do kill -KILL "$p"; done
  exec 7<"$lock" 8<"$under"
  { flock -w 3 7 && flock -w 3 8; } || { rm -f "$broken"; exit $stubborn; }
fi
record "$folder" "$@" || exit 87
rm -f "$note" "$broken"
printf '%s\n' "$count"
"""
)


def script(
    state_dir: str, scope: str, *, run: str, user: str, origin: str, reason: str, lines: tuple[str, ...]
) -> Script:
    """End the holder `run` and write `lines` into the audit; prints how many processes had the lease.

    Exit status: GONE nobody has it, OTHER somebody else has it by now, STUBBORN it could not be ended, FORBIDDEN its
    processes are another user's.
    """
    why = json.dumps({"user": user, "from": origin, "reason": reason[:300]}, ensure_ascii=True)
    return Script(_BREAK, (state_dir, file_of(scope), run, why, *lines))
