"""Who did what to a droplet, with the outcome: begin and end lines in one file on the droplet. Pure."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.model.ports import Script

# `record FOLDER LINE…` appends lines, each with the host's own clock before it.
RECORD = r"""
stamp() { local up rest boot; read -r up rest </proc/uptime; read -r boot </proc/sys/kernel/random/boot_id
  TZ=UTC printf '{"at":"%(%Y-%m-%dT%H:%M:%SZ)T","up":%s,"boot":"%s","login":"%s"' -1 "$up" "$boot" \
    "${SUDO_USER:-${USER:-$UID}}"; }
record() { local folder=$1 line; shift
  (umask 002; mkdir -p "$folder" && for line; do { stamp; printf ',%s\n' "$line"; } >>"$folder/audit.jsonl" || exit 1
  done); }
"""
_APPEND = (
    RECORD
    + r"""
folder=$1 journal=$2 line=$3; shift 3
record "$folder" "$@" || exit 87
[ -z "$line" ] || { stamp; printf ',%s\n' "$line"; } >>"$folder/runs/$journal.jsonl" || exit 87
# Run ids begin with their time: the first names are the oldest journals.
set -- "$folder"/runs/*.jsonl
[ -z "$line" ] || [ $# -le KEPT ] || rm -f -- "${@:1:$#-KEPT}"
""".replace("KEPT", "500")
)


@dataclass(frozen=True)
class Actor:
    """Who runs opsctl, and from where."""

    user: str
    origin: str  # host name, and the address of the SSH session that opsctl runs in

    @classmethod
    def current(cls) -> Actor:
        """This process's."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a user id without a name, as in some containers
            user = str(os.getuid())
        session = os.environ.get("SSH_CONNECTION", "").split()
        host = socket.gethostname()
        return cls(user, f"{host} (ssh from {session[0]})" if session else host)


@dataclass(frozen=True)
class Entry:
    """What one run is, for the lease's holder and for the audit. `command` is redacted already."""

    run_id: str
    command: str
    plan_id: str
    actor: Actor
    started: str  # UTC, ISO 8601, this machine's clock: for people only
    version: str
    name: str = ""  # the command without its options: "startup", "lease break"
    under: str = ""  # the run that holds the lease and of which this one is a step

    def holder(self) -> dict[str, str]:
        """What others are told who ask for the same lease."""
        return {
            "user": self.actor.user,
            "from": self.actor.origin,
            "command": self.command,
            "started": self.started,
            "opsctl": self.version,
        }


def begin(entry: Entry) -> str:
    """The line of a run that begins, without its stamp: the host puts its own clock before it."""
    value = {
        "event": "begin",
        "run": entry.run_id,
        "user": entry.actor.user,
        "from": entry.actor.origin,
        "command": entry.command,
        "plan": entry.plan_id,
        "opsctl": entry.version,
    }
    more = {"name": entry.name, "under": entry.under}
    return rest_of({**value, **{key: each for key, each in more.items() if each}})


def end(run_id: str, *, outcome: str, exit_code: int, seconds: float, detail: str = "") -> str:
    """The line of a run that is over: done, failed or interrupted."""
    value = {"event": "end", "run": run_id, "outcome": outcome, "exit_code": exit_code, "seconds": round(seconds, 2)}
    return rest_of({**value, "detail": detail} if detail else value)


def abandoned(holder: Mapping[str, str], closed_by: str, *, outcome: str = "abandoned", detail: str = "") -> str:
    """The line that ends a run whose owner never did: it is `abandoned`, or somebody has `broken` its lease."""
    value = {
        "event": "end",
        "run": holder.get("run", "unknown"),
        "outcome": outcome,
        "closed_by": closed_by,
        "user": holder.get("user", ""),
        "command": holder.get("command", ""),
    }
    return rest_of({**value, "detail": detail} if detail else value)


def append(state_dir: str, lines: tuple[str, ...], *, journal: str = "", line: str = "") -> Script:
    """Append lines to the droplet's audit, and one to the journal of the run `journal`."""
    return Script(_APPEND, (state_dir, journal, line, *lines))


def rest_of(value: Mapping[str, Any]) -> str:
    """A line without its opening brace, which is the stamp's: the host's clock, not this machine's."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))[1:]
