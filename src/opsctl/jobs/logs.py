"""Log lines of several containers, merged by time and followed across restarts."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opsctl.jobs.containers import USE_SOCKET, Containers, Found
from opsctl.jobs.logframes import Entry, Frames
from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.ports import Script, Shell
from opsctl.model.units import parse_duration

TAIL_ONE = 100
TAIL_SEVERAL = 20
TAIL_SEARCH = 10_000

# The engine's API costs the droplet a fifth of the memory of one `docker logs` a container.
FIND_SOCKET = (
    USE_SOCKET
    + """
sock=${DOCKER_HOST#unix://}
[ -n "$sock" ] || for each in /var/run/docker.sock "${XDG_RUNTIME_DIR:-/run/user/$UID}/docker.sock"; do
  [ -w "$each" ] && sock=$each && break
done
api=''; [ -S "$sock" ] && command -v curl >/dev/null && api=yes
"""
)
_READ = (
    FIND_SOCKET
    + """
tail=$1 since=$2; shift 2
now=$(date +%s.%N); printf '%s\\n' "$now"
case $since in -*) since=$((${now%.*} + since)) ;; esac
fetch() {
  if [ -n "$api" ]; then
    curl -sg -m 100 -w '%{http_code}' --unix-socket "$sock" \\
      "http://engine/containers/$1/logs?stdout=1&stderr=1&timestamps=1&tail=$tail&since=$since"
  else
    docker logs -t --tail "$tail" --since "$since" "$1" 2>&1 && printf 200 || printf 500
  fi
}
for id; do printf '%s ' "$id"; fetch "$id" | base64 -w0; echo; done
"""
)


@dataclass(frozen=True)
class LogLine:
    """One line. `time` is the engine's stamp (RFC 3339, UTC, nanoseconds); `stream` stdout or stderr."""

    droplet: str
    service: str
    container: str
    time: str
    stream: str
    text: str


@dataclass(frozen=True)
class Query:
    """What to show. `since` is seconds before now when negative, else a Unix time; 0 is everything."""

    tail: str = "100"
    since: float = 0
    pattern: re.Pattern[str] | None = None

    def wants(self, line: LogLine) -> bool:
        """Whether a line passes the pattern."""
        return self.pattern is None or self.pattern.search(line.text) is not None


@dataclass(frozen=True)
class History:
    """Lines in the order of time, and where following goes on: a Unix time or a stamp for each container.

    `read_at` is the host's Unix time when the reading began, with nanoseconds.
    """

    lines: tuple[LogLine, ...]
    resume: dict[str, str]
    read_at: str = "0"


def query(*, tail: str | None, since: str | None, grep: str | None, services: int) -> Query:
    """Read the options. Without `tail`: 100 lines of one service, 20 each of several; the last 10,000 to search in.

    Raises UsageError for what cannot be understood.
    """
    bound = TAIL_SEARCH if grep else TAIL_ONE if services == 1 else TAIL_SEVERAL
    chosen = tail if tail is not None else "all" if since and not grep else str(bound)
    if chosen != "all" and not chosen.isdecimal():
        raise UsageError(f"--tail {chosen!r} is no number of lines", next="opsctl logs --tail 200   (or --tail all)")
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"--grep {grep!r} is no regular expression", why=str(error)) from error
    return Query(chosen, parse_since(since) if since else 0, pattern)


def parse_since(text: str) -> float:
    """`10m` → −600 (seconds before the host's now); `2026-11-20T18:00` → Unix time, UTC unless it says otherwise.

    Raises UsageError.
    """
    try:
        return -parse_duration(text)
    except ValueError:
        pass
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--since {text!r} is neither a duration nor a time", next="opsctl logs --since 10m   (or 2026-11-20T18:00)"
        ) from error
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


def choose(containers: Containers, names: Sequence[str]) -> tuple[Found, ...]:
    """The containers to show: those named, else all of the stack. Raises as `Containers.named`."""
    if not names:
        return containers.of_stack()
    chosen = {each.id: each for name in names for each in containers.named(name)}
    return tuple(chosen.values())


def history(
    shell: Shell, found: Sequence[Found], wanted: Query, *, droplet: str, socket: str, cancel: Cancel
) -> History:
    """Read the past lines of all containers in one remote call.

    Raises StepFailed for a container whose log driver keeps nothing that can be read.
    """
    since = str(int(wanted.since))
    script = Script(_READ, (socket, wanted.tail, since, *(each.id for each in found)))
    done = shell.run(script, cancel=cancel, timeout=120)
    if done.code != 0:
        raise StepFailed("the logs could not be read", why=done.error_text, next="opsctl doctor")
    now, *rows = done.text.splitlines()
    by_id = {each.id: each for each in found}
    lines: list[LogLine] = []
    resume = {}
    for row in rows:
        ident, _, encoded = row.partition(" ")
        entries = _decode(by_id[ident], base64.b64decode(encoded))
        resume[ident] = entries[-1].time if entries else now
        lines += (as_line(entry, by_id[ident], droplet) for entry in entries)
    kept = sorted(filter(wanted.wants, lines), key=lambda line: line.time)
    return History(tuple(kept), resume, now)


def as_line(entry: Entry, found: Found, droplet: str) -> LogLine:
    """One entry with whose it is."""
    return LogLine(droplet, found.label, found.name, entry.time, entry.stream, entry.text)


def _decode(found: Found, data: bytes) -> list[Entry]:
    body, status = data[:-3], data[-3:].decode(errors="replace")
    if status != "200":
        raise StepFailed(
            f"the log of {found.label} cannot be read",
            why=body.decode(errors="replace").strip() or f"the engine answered {status}",
            next=f"docker inspect -f '{{{{.HostConfig.LogConfig.Type}}}}' {found.name}   (json-file, local, journald)",
        )
    frames = Frames()
    return [*frames.feed(body), *frames.end()]
