"""A stand-in for a Qdrant server: its REST protocol in front of the vendor's own local engine.

    python -m tests.stores.qdrant_standin --port 0 [--folder DIR] [--api-key KEY] [--version 1.18.3]

Prints `ready PORT` once it listens. What differs from a server: nothing is ever indexed (`indexed_vectors_count` is 0
and the status green), numbers are printed with the digits of a double where a server prints those of a float, a kill
may leave a part of one upsert behind, and there are no snapshots, shard keys or clusters.

`PUT /standin/faults` with any of `down` (answer 503 so many times), `lost` (do it, but break the connection instead
of answering, so many times), `limited` (429, so many times), `slow` (seconds before each answer), `refuse` (share of
points that are refused with 400, by id), `spoil` (share of points that are stored otherwise than they came).
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError
from pydantic_core import from_json, to_json
from qdrant_client import models
from tests.stores.qdrant_engine import Engine, Refused

MOST = 32 << 20  # bytes of a request, a server's default
OPEN = ("/", "/healthz", "/readyz", "/livez", "/standin/faults")  # without an API key


def route(engine: Engine, method: str, path: str, body: dict[str, Any]) -> Any:
    """The `result` of a request. Raises Refused; whatever the vendor's models and engine do not take becomes a 400."""
    done = {"operation_id": 0, "status": "completed"}
    if path == "/collections":
        return {"collections": [{"name": name} for name in engine.kept]}
    if path == "/collections/aliases":
        return engine.rename(body)
    if path == "/aliases":
        return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in engine.aliases.items()]}
    if path == "/cluster":
        return {"status": "disabled"}
    found = re.fullmatch(r"/collections/([^/]+)(/.*)?", path)
    if not found:
        raise Refused(404, "")
    name, rest = unquote(found[1]), found[2] or ""
    match method, rest:
        case "GET", "":
            return engine.info(name)
        case "GET", "/exists":
            return {"exists": name in engine.kept or name in engine.aliases}
        case "PUT", "":
            return engine.create(name, body)
        case "PATCH", "":
            return engine.update(name, body)
        case "DELETE", "":
            return engine.delete(name)
        case "PUT", "/index":
            models.CreateFieldIndex.model_validate(body)
            engine.of(name)[1]["indexes"][body["field_name"]] = body["field_schema"]
            engine.save()
        case "DELETE", rest if rest.startswith("/index/"):
            engine.of(name)[1]["indexes"].pop(unquote(rest.removeprefix("/index/")), None)
            engine.save()
        case "PUT", "/points":
            engine.upsert(name, body["points"])
        case "POST", "/points":
            return engine.retrieve(name, body)
        case "POST", "/points/scroll":
            return engine.scroll(name, body)
        case "POST", "/points/count":
            return {"count": engine.count(name, body)}
        case "POST", "/points/query":
            return engine.query(name, body)
        case "POST", "/points/delete":
            engine.remove(name, body)
        case _:
            raise Refused(404, "")
    return done


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the engine of its server."""

    protocol_version = "HTTP/1.1"
    engine: Engine
    key = ""
    version = ""

    def do_GET(self) -> None:
        started = time.perf_counter()
        path = urlsplit(self.path).path
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        given = self.headers.get("api-key") or (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.key and path not in OPEN and given != self.key:
            words = "Invalid API key or JWT" if given else "Must provide an API key or an Authorization bearer token"
            return self.answer(401, words.encode(), "text/plain")
        if path == "/":
            return self.answer(200, to_json({"title": "qdrant - vector search engine", "version": self.version}))
        if path in OPEN[1:4]:
            return self.answer(200, b"all shards are ready", "text/plain")
        if path == "/standin/faults":
            self.engine.faults = from_json(data)
            return self.answer(200, data)
        if size > MOST:
            words = f"JSON payload ({size} bytes) is larger than allowed (limit: {MOST} bytes)."
            return self.failed(Refused(413, words), started)
        return self.work(path, data, started)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def work(self, path: str, data: bytes, started: float) -> None:
        if seconds := self.engine.faults.get("slow"):
            time.sleep(seconds)
        if self.once("down"):
            return self.failed(Refused(503, "Service unavailable: no quorum"), started)
        if self.once("limited"):
            return self.failed(Refused(429, "Rate limiting exceeded: try again later"), started, {"Retry-After": "1"})
        try:
            body = from_json(data) if data else {}
            with self.engine.lock:
                result = route(self.engine, self.command, path, body)
        except Refused as error:
            return self.failed(error, started)
        except (ValidationError, ValueError, KeyError) as error:
            return self.failed(Refused(400, str(error)), started)
        if self.once("lost"):
            self.close_connection = True
            return None
        return self.answer(200, to_json({"result": result, "status": "ok", "time": time.perf_counter() - started}))

    def once(self, fault: str) -> bool:
        with self.engine.lock:
            left = self.engine.faults.get(fault, 0)
            self.engine.faults[fault] = max(0, left - 1)
        return left > 0

    def failed(self, error: Refused, started: float, headers: dict[str, str] | None = None) -> None:
        shown = {"status": {"error": str(error)}, "time": time.perf_counter() - started}
        self.answer(error.status, to_json(shown), headers=headers)

    def answer(
        self, code: int, data: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing: errors are in the answers."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--version", default="1.18.3")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # the engine's own: that it is no server
    kind = type("Served", (Handler,), {"engine": Engine(given.folder), "key": given.api_key, "version": given.version})
    server = ThreadingHTTPServer((given.host, given.port), kind)
    print("ready", server.server_port, flush=True)
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
