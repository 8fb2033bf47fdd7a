"""One HTTP service of the agent stack: its name, port, delay, memory and dependencies come from the environment."""

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

NAME = os.environ.get("SERVICE_NAME", "service")
PORT = int(os.environ.get("PORT", "8000"))
START_DELAY = float(os.environ.get("START_DELAY", "0"))
MEMORY_MB = int(os.environ.get("MEMORY_MB", "0"))
CRASH_AFTER = float(os.environ.get("CRASH_AFTER", "0"))
COLLECTION = os.environ.get("QDRANT_COLLECTION", "the-shop")
STARTED = time.monotonic()


def log(text: str, level: str = "INFO") -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    print(f"{stamp}Z {level:<7} [{NAME}] {text}", flush=True)


class State:
    """What the health endpoint tells."""

    ready = False
    requests = 0
    parts: dict[str, str] = {}


def resident() -> int:
    """This process's own resident memory (no file's pages, they are shared between services), in bytes."""
    with open("/proc/self/statm") as statm:
        _, pages, shared, *_ = map(int, statm.read().split())
    return (pages - shared) * os.sysconf("SC_PAGESIZE")


def fill(megabytes: int) -> bytearray:
    """Really touch what is missing to `megabytes` (10^6 bytes) of resident memory."""
    return bytearray(b"\x01") * max(0, megabytes * 1_000_000 - resident())


def check_postgres(url: str) -> str:
    import psycopg2  # only the services that have a database pay for it

    connection = psycopg2.connect(url, connect_timeout=3)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('checkpoints.checkpoints') IS NOT NULL")
            (there,) = cursor.fetchone()
    finally:
        connection.close()
    return "schema checkpoints is there" if there else "schema checkpoints is not there yet"


def check_redis(url: str) -> str:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=3) as conn:
        if parts.password:
            conn.sendall(f"AUTH {parts.password}\r\n".encode())
            conn.recv(512)
        conn.sendall(b"PING\r\n")
        answer = conn.recv(512).decode(errors="replace").strip()
    if answer != "+PONG":
        raise OSError(f"redis answered {answer!r}")
    return "PONG"


def check_collection(url: str) -> str:
    with urllib.request.urlopen(f"{url}/collections/{COLLECTION}", timeout=3) as answer:
        status = json.load(answer)["result"]["status"]
    return f"collection {COLLECTION} is {status}"


def check_http(url: str) -> str:
    with urllib.request.urlopen(url, timeout=3) as answer:
        return f"HTTP {answer.status}"


# The environment variable that switches a part on, how it is checked, and the line that proves it works.
PARTS = {
    "QDRANT_URL": ("Qdrant Cloud client", check_collection),
    "DATABASE_URL": ("LangGraph PostgreSQL checkpointer", check_postgres),
    "REDIS_URL": ("Event bus", check_redis),
    "UPSTREAM_URL": ("Upstream", check_http),
}


def connect(stop: threading.Event) -> None:
    """Check every configured part until it works; a missing one degrades the service, and is said once."""
    missing = {variable: url for variable in PARTS if (url := os.environ.get(variable))}
    announced_hybrid = False
    while missing and not stop.is_set():
        for variable, url in list(missing.items()):
            title, check = PARTS[variable]
            try:
                detail = check(url)
            except Exception as why:  # noqa: BLE001 - whatever it is, the service degrades and goes on
                reason = (str(why).strip() or type(why).__name__).splitlines()[0][:200]
                if State.parts.get(title) != reason:
                    log(f"{title} not available, going on without it: {reason}", "WARNING")
                State.parts[title] = reason
                continue
            del missing[variable]
            State.parts[title] = "ok"
            log(f"{title} initialized ({detail})")
        memory = [State.parts.get(PARTS[v][0]) for v in ("QDRANT_URL", "DATABASE_URL")]
        if memory == ["ok", "ok"] and not announced_hybrid:
            announced_hybrid = True
            log("Hybrid memory (buffer + vector) initialized")
        stop.wait(1.0)


class Handler(BaseHTTPRequestHandler):
    """Health, metrics, and a read-only look at the vector collection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        State.requests += 1
        if self.path == "/health":
            self.answer(200 if State.ready else 503, self.health())
        elif self.path == "/metrics":
            self.answer(200, self.metrics(), "text/plain; version=0.0.4")
        elif self.path == f"/collections/{COLLECTION}":
            self.answer(200, {"result": {"status": "green", "points_count": 0}, "status": "ok"})
        elif self.path == "/":
            self.answer(200, {"service": NAME})
        else:
            self.answer(404, {"error": "not found", "path": self.path})

    def health(self) -> dict[str, object]:
        up = round(time.monotonic() - STARTED, 3)
        status = "ok" if State.ready else "starting"
        return {"service": NAME, "status": status, "uptime": up, "parts": State.parts}

    def metrics(self) -> str:
        labels = f'{{service="{NAME}"}}'
        return (
            f"# TYPE service_up gauge\nservice_up{labels} {int(State.ready)}\n"
            f"# TYPE http_requests_total counter\nhttp_requests_total{labels} {State.requests}\n"
            f"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes{labels} {resident()}\n"
        )

    def answer(self, code: int, body: object, kind: str = "application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body) + "\n").encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are counted, not logged: a probe every 100 ms would bury everything else."""


def main() -> int:
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    log(f"starting on port {PORT}")
    server = ThreadingHTTPServer(("", PORT), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    threading.Thread(target=connect, args=(stop,), daemon=True).start()
    footprint = fill(MEMORY_MB)
    stop.wait(max(0.0, START_DELAY - (time.monotonic() - STARTED)))
    if not stop.is_set():
        State.ready = True
        log(f"ready after {time.monotonic() - STARTED:.2f} s, {resident() // 1_000_000} MB resident")
    stop.wait(CRASH_AFTER or None)
    if not stop.is_set():
        log("CRASH_AFTER is over: exiting with status 1", "ERROR")
        return 1
    log(f"stopping, gives back {len(footprint) // 1_000_000} MB")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # open keep-alive connections must not hold up a stop
