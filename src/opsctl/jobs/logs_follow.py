"""Following logs: one stream a container, taken up again when the container is restarted or made anew."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opsctl.jobs.containers import Found
from opsctl.jobs.logframes import Frames, unescape
from opsctl.jobs.logs import FIND_SOCKET, LogLine, Query, as_line
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError
from opsctl.model.ports import Script, Shell

# `sed l` makes the binary frames lines of plain ASCII, and flushes each at once.
_FOLLOW = (
    FIND_SOCKET
    + """
if [ -n "$api" ]; then
  curl -sgN --unix-socket "$sock" \\
    "http://engine/containers/$1/logs?stdout=1&stderr=1&timestamps=1&follow=1&since=$2"
else
  docker logs -f -t --since "$2" "$1" 2>&1
fi | LC_ALL=C stdbuf -oL sed -n 'l 0'
"""
)
_FILTERS = '{"type":["container"],"event":["start","die","oom"]}'
_EVENTS = (
    FIND_SOCKET
    + """
if [ -n "$api" ]; then
  exec curl -sgN -G --unix-socket "$sock" --data-urlencode "filters=$2" "http://engine/events?since=$1"
else
  exec docker events --since "$1" --format '{{json .}}' --filter type=container \\
    --filter event=start --filter event=die --filter event=oom
fi
"""
)
_ONE_SHORTAGE = 5.0  # seconds within which several containers are told of the same
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_ONEOFF = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Notice:
    """Something that happened to a followed container."""

    droplet: str
    service: str
    text: str


Emit = Callable[[LogLine | Notice], None]


class Follower:
    """The live lines of some containers of one droplet, until cancelled.

    `emit` is called from several threads.
    """

    def __init__(self, shell: Shell, wanted: Query, emit: Emit, *, droplet: str, socket: str, cancel: Cancel) -> None:
        self._shell, self._wanted, self._emit = shell, wanted, emit
        self._droplet, self._socket = droplet, socket
        self._cancel = cancel.child()
        self._outer = cancel
        self._threads: dict[str, threading.Thread] = {}
        self._resume: dict[str, str] = {}
        self._failure: OpsError | None = None
        self._short_since = 0.0

    def run(self, found: Sequence[Found], resume: Mapping[str, str], *, since: str, project: str = "") -> None:
        """Follow until the token is done; `since` (Unix time) is from when restarts are looked for.

        With `project` whatever else is started in that compose project is followed too.
        Raises what the connection raises; returns quietly when cancelled.
        """
        self._resume = dict(resume)
        try:
            for each in found:
                self._take_up(each)
            self._watch(found, since, project)
        except OpsError as error:
            self._fail(error)
        finally:
            self._cancel.cancel(self._outer.signum)
            for thread in list(self._threads.values()):
                thread.join()
        if self._failure is not None and not self._outer.cancelled:
            raise self._failure

    def _watch(self, found: Sequence[Found], since: str, project: str) -> None:
        for line in self._lines(Script(_EVENTS, (self._socket, since, _FILTERS))):
            event = _event(line)
            known = (_match(event, found) or _newcomer(event, project)) if event and _after(event, since) else None
            if event and known:
                self._happened(event, known)

    def _happened(self, event: Mapping[str, Any], known: Found) -> None:
        attributes = event["Actor"].get("Attributes", {})
        match event.get("Action"):
            case "start":
                again = Found(**{**vars(known), "id": event["Actor"]["ID"], "name": attributes.get("name", known.name)})
                self._emit(Notice(self._droplet, known.label, "started"))
                self._resume.setdefault(again.id, _unix(event))
                self._take_up(again)
            case "die":
                status = attributes.get("exitCode", "unknown")
                self._emit(Notice(self._droplet, known.label, f"stopped, exit status {status}"))
            case "oom":
                self._short_of_memory(known, float(_unix(event)))

    def _short_of_memory(self, known: Found, at: float) -> None:
        """Where a droplet runs out, cgroup v1 tells every container of it, and nobody which one is the cause: once."""
        if at - self._short_since > _ONE_SHORTAGE:
            self._short_since = at
            text = "memory ran out, in it or on the whole droplet (opsctl why tells)"
            self._emit(Notice(self._droplet, known.label, text))

    def _take_up(self, found: Found) -> None:
        before = self._threads.get(found.id)
        thread = threading.Thread(target=self._follow, args=(found, before), name=f"logs-{found.label}")
        self._threads[found.id] = thread
        thread.start()

    def _follow(self, found: Found, before: threading.Thread | None) -> None:
        try:
            if before is not None:
                before.join()  # its stream ended with the container: what it has is shown first
            frames, last = Frames(), self._resume.get(found.id, "0")
            script = Script(_FOLLOW, (self._socket, found.id, api_time(last)))
            for line in self._lines(script):
                for entry in frames.feed(unescape(line)):
                    if "T" not in last or entry.time > last:  # the engine's `since` includes the line we had last
                        self._resume[found.id] = entry.time
                        shown = as_line(entry, found, self._droplet)
                        if self._wanted.wants(shown):
                            self._emit(shown)
        except OpsError as error:
            self._fail(error)

    def _lines(self, script: Script) -> Iterator[str]:
        stream = self._shell.stream(script, cancel=self._cancel, timeout=None)
        with closing(stream):  # type: ignore[type-var]
            yield from stream

    def _fail(self, error: OpsError) -> None:
        if not self._cancel.cancelled:
            self._failure = error
            self._cancel.cancel()


def api_time(stamp: str) -> str:
    """`seconds.nanoseconds`, as the engine's `since` wants it, of its own stamp; a number stays what it is."""
    if "T" not in stamp:
        return stamp
    whole, _, rest = stamp.partition(".")
    seconds = int(datetime.fromisoformat(whole.removesuffix("Z")).replace(tzinfo=UTC).timestamp())
    return f"{seconds}.{rest.removesuffix('Z') or '0'}"


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "Actor" in event else None


def _after(event: Mapping[str, Any], since: str) -> bool:
    """Whether an event is new: the engine's own `since` is not that exact."""
    seconds, _, rest = since.partition(".")
    return int(event.get("timeNano", 0)) >= int(seconds) * 10**9 + int(f"{rest:0<9}"[:9])


def _unix(event: Mapping[str, Any]) -> str:
    return str(event.get("time", 0))


def _match(event: Mapping[str, Any], found: Sequence[Found]) -> Found | None:
    """The followed container that an event is about: itself, or the one it replaces."""
    ident, attributes = event["Actor"]["ID"], event["Actor"].get("Attributes", {})
    for each in found:
        if each.id == ident or each.name == attributes.get("name"):
            return each
        compose = (attributes.get(_PROJECT), attributes.get(_SERVICE))
        if each.service and compose == (each.project, each.service) and attributes.get(_ONEOFF, "False") == "False":
            return each
    return None


def _newcomer(event: Mapping[str, Any], project: str) -> Found | None:
    """A container of the project that was not there when following began; one-offs are left out."""
    attributes = event["Actor"].get("Attributes", {})
    if not project or attributes.get(_PROJECT) != project or attributes.get(_ONEOFF, "False") != "False":
        return None
    name, image = attributes.get("name", ""), attributes.get("image", "")
    return Found(event["Actor"]["ID"], name, "running", "", image, project, attributes.get(_SERVICE, ""), False, ())
