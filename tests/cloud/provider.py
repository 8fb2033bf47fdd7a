"""A provider's API in this process, as its documentation describes it, that fails when it is told to."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "dop_v1_0123456789abcdef0123456789abcdef"
Answer = tuple[int, Any]


@dataclass
class Fault:
    """What happens to the next request that matches: `kind` is a status, `reset`, `lost` (done, then reset), `hang`."""

    match: str  # a pattern for "METHOD /path"
    kind: int | str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """One request as it arrived."""

    line: str
    at: float
    authorization: str
    body: Any


class Provider:
    """The account: what it has, what was asked, what is to go wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.page = 200
        self.remaining = 4999
        self.reset = 3600  # s until the limit is full again
        self.polls = 1  # how often an action is looked at before it is over
        self.errored: list[str] = []  # kinds whose next action errors
        self.stays: dict[str, str] = {}  # kind → the status that the droplet keeps, whatever the action says
        self.droplets: dict[int, dict[str, Any]] = {}
        self.actions: dict[int, dict[str, Any]] = {}
        self.left: dict[int, int] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.sizes = [size("s-1vcpu-1gb", 1024, 25, 6.0), size("s-2vcpu-2gb", 2048, 60, 18.0)]
        self.sizes += [size("s-2vcpu-4gb", 4096, 80, 24.0), size("s-4vcpu-8gb", 8192, 160, 48.0)]
        self.hanging = threading.Event()
        self._number = 1000
        self.lock = threading.RLock()

    def number(self) -> int:
        self._number += 1
        return self._number

    def add_droplet(self, name: str, *, address: str = "203.0.113.7", volumes: tuple[str, ...] = ()) -> int:
        number = self.number()
        self.droplets[number] = {
            "id": number,
            "name": name,
            "status": "active",
            "locked": False,
            "memory": 2048,
            "vcpus": 2,
            "disk": 60,
            "size_slug": "s-2vcpu-2gb",
            "size": {"slug": "s-2vcpu-2gb", "price_monthly": 18.0},
            "region": {"slug": "sfo2"},
            "networks": {
                "v4": [{"ip_address": address, "type": "public"}, {"ip_address": "10.0.0.2", "type": "private"}]
            },
            "volume_ids": list(volumes),
            "tags": [],
            "created_at": "2026-01-10T00:00:00Z",
        }
        for each in volumes:
            self.volumes[each] = {"id": each, "name": f"name-{each}", "size_gigabytes": 10, "region": {"slug": "sfo2"}}
        return number

    def add_snapshot(self, name: str, of: str, *, created: str, gigabytes: float = 3.0) -> str:
        number = str(self.number())
        kind = "volume" if of in self.volumes else "droplet"
        self.snapshots[number] = {
            "id": number,
            "name": name,
            "created_at": created,
            "size_gigabytes": gigabytes,
            "resource_id": of,
            "resource_type": kind,
        }
        return number

    def lines(self, pattern: str = "") -> list[str]:
        """What was asked, as `METHOD /path`."""
        return [each.line for each in self.seen if re.search(pattern, each.line)]

    # What it does

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        for pattern, work in _ROUTES:
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return work(self, match, query, body)
        return 404, {"id": "not_found", "message": "The resource you were accessing could not be found."}

    def paged(self, path: str, key: str, items: list[Any], query: dict[str, list[str]]) -> Answer:
        page, per = int(query.get("page", ["1"])[0]), min(self.page, int(query.get("per_page", ["20"])[0]))
        links: dict[str, Any] = {}
        if page * per < len(items):
            links = {"pages": {"next": f"{self.url}{path}?page={page + 1}&per_page={per}"}}
        return 200, {key: items[(page - 1) * per : page * per], "links": links, "meta": {"total": len(items)}}

    def begin(self, number: int, body: dict[str, Any]) -> Answer:
        if number not in self.droplets:
            return 404, {"id": "not_found", "message": "no such droplet"}
        if any(each["status"] == "in-progress" and each["resource_id"] == number for each in self.actions.values()):
            return 422, {"id": "unprocessable_entity", "message": "Droplet already has a pending event."}
        if body["type"] == "resize" and self.droplets[number]["status"] != "off":
            return 422, {"id": "unprocessable_entity", "message": "Droplet must be off."}
        action = {
            "id": self.number(),
            "type": body["type"],
            "status": "in-progress",
            "started_at": now(),
            "completed_at": None,
            "resource_id": number,
            "body": body,
        }
        self.actions[action["id"]] = action
        self.left[action["id"]] = self.polls
        return 201, {"action": action}

    def look(self, number: int) -> Answer:
        action = self.actions[number]
        if action["status"] == "in-progress":
            self.left[number] -= 1
            if self.left[number] < 0:
                self.finish(action)
        return 200, {"action": action}

    def finish(self, action: dict[str, Any]) -> None:
        kind = action["type"]
        action["completed_at"] = now()
        if kind in self.errored:
            self.errored.remove(kind)
            action["status"] = "errored"
            return
        action["status"] = "completed"
        droplet = self.droplets[action["resource_id"]]
        states = {"power_off": "off", "shutdown": "off", "power_on": "active", "power_cycle": "active"}
        if kind in states:
            droplet["status"] = self.stays.get(kind, states[kind])
        if kind == "resize":
            droplet["size_slug"] = action["body"]["size"]
        if kind == "snapshot":
            self.add_snapshot(action["body"]["name"], str(droplet["id"]), created=now())


def size(slug: str, memory: int, disk: int, price: float) -> dict[str, Any]:
    """A size as the API lists it."""
    regions = ["sfo2", "nyc1"]
    common = {"vcpus": 2, "available": True, "regions": regions, "description": "Basic"}
    return {"slug": slug, "memory": memory, "disk": disk, "price_monthly": price, **common}


def now() -> str:
    """As the API writes times."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


Work = Callable[[Provider, "re.Match[str]", dict[str, list[str]], Any], Answer]


def _droplets(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return it.paged("/v2/droplets", "droplets", list(it.droplets.values()), query)


def _droplet(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    found = it.droplets.get(int(match[1]))
    return (200, {"droplet": found}) if found else (404, {"id": "not_found", "message": "no such droplet"})


def _actions(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    mine = [each for each in it.actions.values() if each["resource_id"] == int(match[1])]
    return it.paged(match[0].split()[1], "actions", mine[::-1], query)


def _begin(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return it.begin(int(match[1]), body)


def _look(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return it.look(int(match[1]))


def _copies(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    mine = [each for each in it.snapshots.values() if each["resource_id"] == match[1]]
    return it.paged(match[0].split()[1], "snapshots", mine, query)


def _copy_volume(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return 201, {"snapshot": it.snapshots[it.add_snapshot(body["name"], match[1], created=now(), gigabytes=1.0)]}


def _drop_copy(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return (204, None) if it.snapshots.pop(match[1], None) else (404, {"id": "not_found", "message": "no snapshot"})


def _volume(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return 200, {"volume": it.volumes[match[1]]}


def _sizes(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return it.paged("/v2/sizes", "sizes", it.sizes, query)


def _domains(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return it.paged("/v2/domains", "domains", [{"name": each, "ttl": 1800} for each in it.records], query)


def _records(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    return it.paged(match[0].split()[1], "domain_records", it.records[match[1]], query)


def _add_record(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    it.records[match[1]].append({"id": it.number(), **body})
    return 201, {"domain_record": it.records[match[1]][-1]}


def _put_record(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    for each in it.records[match[1]]:
        if each["id"] == int(match[2]):
            each.update(body)
            return 200, {"domain_record": each}
    return 404, {"id": "not_found", "message": "no such record"}


def _drop_record(it: Provider, match: re.Match[str], query: dict[str, list[str]], body: Any) -> Answer:
    it.records[match[1]] = [each for each in it.records[match[1]] if each["id"] != int(match[2])]
    return 204, None


_ROUTES: list[tuple[str, Work]] = [
    ("GET /v2/droplets", _droplets),
    (r"GET /v2/droplets/(\d+)", _droplet),
    (r"GET /v2/droplets/(\d+)/actions", _actions),
    (r"POST /v2/droplets/(\d+)/actions", _begin),
    (r"GET /v2/actions/(\d+)", _look),
    (r"GET /v2/droplets/([^/]+)/snapshots", _copies),
    (r"GET /v2/volumes/([^/]+)/snapshots", _copies),
    (r"POST /v2/volumes/([^/]+)/snapshots", _copy_volume),
    (r"DELETE /v2/snapshots/([^/]+)", _drop_copy),
    (r"GET /v2/volumes/([^/]+)", _volume),
    ("GET /v2/sizes", _sizes),
    ("GET /v2/domains", _domains),
    (r"GET /v2/domains/([^/]+)/records", _records),
    (r"POST /v2/domains/([^/]+)/records", _add_record),
    (r"PUT /v2/domains/([^/]+)/records/(\d+)", _put_record),
    (r"DELETE /v2/domains/([^/]+)/records/(\d+)", _drop_record),
]


@contextmanager
def serve() -> Iterator[Provider]:
    """A provider on loopback; ended with the block."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._any()

        do_POST = do_PUT = do_DELETE = do_GET

        def _any(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            line = f"{self.command} {parts.path}"
            with provider.lock:
                provider.seen.append(Seen(line, time.monotonic(), self.headers.get("Authorization", ""), body))
                fault = next((each for each in provider.faults if re.search(each.match, line)), None)
                if fault is not None:
                    provider.faults.remove(fault)
            if fault is not None and fault.kind == "hang":
                provider.hanging.set()
                self.rfile.read(1)  # until the other side gives up
                return None
            if fault is not None and fault.kind == "reset":
                return self._reset()
            if fault is not None and isinstance(fault.kind, int):
                return self._send(fault.kind, {"id": "fault", "message": f"told to answer {fault.kind}"}, fault.headers)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(401, {"id": "Unauthorized", "message": "Unable to authenticate you"}, {})
            with provider.lock:
                status, answer = provider.answer(self.command, parts.path, parse_qs(parts.query), body)
            if fault is not None:
                return self._reset()
            return self._send(status, answer, {})

        def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            limit = {"ratelimit-remaining": str(provider.remaining)}
            limit["ratelimit-reset"] = str(int(time.time()) + provider.reset)
            for key, value in {**(limit if status != 429 else {}), **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _reset(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
