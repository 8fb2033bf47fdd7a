"""The process that stands in for the provider's API: `python -m opsctl.sandbox.cloud_server SANDBOX PORT`."""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import socket
import struct
import sys
import time
import uuid
from collections import deque
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from opsctl.model.cancel import Cancel
from opsctl.sandbox import cloud
from opsctl.sandbox.cloud_api import Api, Request
from opsctl.sandbox.cloud_shapes import Refused
from opsctl.sandbox.cloud_state import FAULTS, State

_HOURLY = 5000
_IDS = {
    400: "bad_request",
    401: "Unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    422: "unprocessable_entity",
    429: "too_many_requests",
}


class Server(ThreadingMixIn, HTTPServer):
    """One sandbox's API on loopback."""

    daemon_threads = False
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, sandbox: str, port: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.build = cloud.build()  # what this process is made of, whatever the files say later
        self.token = (folder.parent / cloud.TOKEN).read_text().strip()
        self.state = State(folder / "state.json")
        self.api = Api(sandbox, self.state, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
        self.seen: deque[dict[str, Any]] = deque(maxlen=1000)
        self.times: deque[float] = deque(maxlen=_HOURLY)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30  # an idle connection ends
    server_version = "opsctl-sandbox"

    def handle_one_request(self) -> None:
        """As it is inherited, but a connection that goes away is nothing to talk about."""
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _work(self) -> None:
        state = self.server.state
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        lost = False
        try:
            if not self._allowed():
                raise Refused(401, "Unable to authenticate you")
            if split.path.startswith("/sandbox/"):
                self._send(*self._own(split.path, body))
                return
            Cancel(state.faults().get("slow", 0)).wait(3600)
            self._fail()
            lost = self.command != "GET" and state.take("lost") is not None
            host = self.headers.get("Host", f"127.0.0.1:{self.server.server_port}")
            query = dict(parse_qsl(split.query, keep_blank_values=True))
            path = split.path.rstrip("/")
            request = Request(self.command, path, query, _document(body), f"http://{host}{path}")
            status, answer = self.server.api.answer(request)
        except Refused as refused:
            answer = {
                "id": _IDS.get(refused.status, "server_error"),
                "message": refused.message,
                "request_id": str(uuid.uuid4()),
            }
            self._note(refused.status)
            self._send(refused.status, answer, **refused.headers)
            return
        except ConnectionResetError:
            self._note(0)
            self._reset()
            return
        self._note(0 if lost else status)
        if lost:
            self._reset()
        else:
            self._send(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _work  # noqa: N815 - the names http.server calls

    def _allowed(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.server.token.encode())

    def _fail(self) -> None:
        """Be as faulty as it was asked for. Raises Refused or ConnectionResetError."""
        self.server.times.append(time.time())
        fault = self.server.state.take("reset", "429", "500", "502", "503")
        if fault == "reset":
            raise ConnectionResetError
        if fault == "429":
            wait = self.server.state.faults()["retry-after"]
            raise Refused(429, "API rate limit exceeded.", **{"Retry-After": f"{wait:.0f}"})
        if fault is not None:
            raise Refused(int(fault), "Server Error")

    def _own(self, path: str, body: bytes) -> tuple[int, Any]:
        """What only the sandbox has: faults to switch, requests to look at, and which code this is."""
        state = self.server.state
        if path == "/sandbox/about":
            return 200, {"build": self.server.build, "pid": os.getpid()}
        if path == "/sandbox/requests":
            return 200, {"requests": list(self.server.seen)}
        if path != "/sandbox/faults":
            raise Refused(404, "The resource you were accessing could not be found.")
        if self.command == "PUT":
            wanted = _document(body)
            if wrong := [name for name, value in wanted.items() if name not in FAULTS or not _counts(value)]:
                raise Refused(422, f"{wrong[0]} is no fault that can be switched like this")
            state.set_faults({name: float(value) for name, value in wanted.items()})
        elif self.command == "DELETE":
            state.set_faults(None)
        return 200, {"faults": state.faults()}

    def _send(self, status: int, answer: Any, **headers: str) -> None:
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        hour = time.time() - 3600
        recent = [each for each in self.server.times if each > hour]
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("ratelimit-limit", str(_HOURLY))
        self.send_header("ratelimit-remaining", str(_HOURLY - len(recent)))
        self.send_header("ratelimit-reset", str(int((recent[0] if recent else time.time()) + 3600)))
        self.send_header("x-request-id", str(uuid.uuid4()))
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection without an answer: the peer sees a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
        self.close_connection = True

    def _note(self, status: int) -> None:
        self.server.seen.append({"method": self.command, "path": self.path, "status": status, "at": time.time()})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the inherited name
        """Requests are kept in memory, for `/sandbox/requests`."""


def _document(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body or b"{}")
    except ValueError:
        raise Refused(400, "The request body is not JSON.") from None
    if not isinstance(said, dict):
        raise Refused(400, "The request body is not an object.")
    return said


def _counts(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def main(sandbox: str, port: int, folder: Path) -> int:
    """Serve until somebody ends the process. 3: another one serves already, 4: the port is taken."""
    with (folder / cloud.PIDFILE).open("a") as held:
        try:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 3
        try:
            server = Server(sandbox, port, folder)
        except OSError as error:
            print(error, file=sys.stderr)  # noqa: T201 - into its own log
            return 4
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
