"""A stand-in for LangSmith's API: takes runs, and answers what is asked about them. Runs by itself, in any Python 3.

Usage: langsmith.py PORT KEYFILE; without the key in that file nobody gets in.
"""

from __future__ import annotations

import hmac
import json
import sys
import threading
import uuid
from collections import deque
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEPT = 5000
_ALWAYS = ("id", "name", "run_type", "start_time", "trace_id", "dotted_order", "session_id", "app_path")
TENANT = str(uuid.UUID(int=1))


class Store:
    """Projects by name, and the newest runs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.projects: dict[str, dict[str, Any]] = {}
        self.runs: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def add(self, run: dict[str, Any]) -> None:
        """Take one run; its project is made when it is new."""
        with self.lock:
            project = self._project(str(run.pop("session_name", None) or "default"))
            project["last_run_start_time"] = run["start_time"]
            order = f"{_moment(run['start_time']):%Y%m%dT%H%M%S%fZ}{run['id']}"
            known = {"trace_id": run["id"], "parent_run_id": None, "dotted_order": order, "end_time": None}
            self.runs.append({**known, "inputs": {}, "app_path": "", **run, "session_id": project["id"]})

    def change(self, run_id: str, values: dict[str, Any]) -> bool:
        """Add to a run; False when there is none of that id."""
        with self.lock:
            for run in self.runs:
                if run["id"] == run_id:
                    known = ("id", "session_id", "session_name")
                    run.update({key: value for key, value in values.items() if value is not None and key not in known})
                    return True
        return False

    def _project(self, name: str) -> dict[str, Any]:
        if name not in self.projects:
            self.projects[name] = {
                "id": str(uuid.uuid4()),
                "name": name,
                "tenant_id": TENANT,
                "start_time": datetime.now(timezone.utc).isoformat(),  # noqa: UP017 - any Python 3
                "reference_dataset_id": None,
            }
        return self.projects[name]

    def sessions(self, name: str, part: str, limit: int, offset: int) -> list[dict[str, Any]]:
        """Projects by their whole name, or by a part of it."""
        with self.lock:
            found = [each for each in self.projects.values() if name in ("", each["name"]) and part in each["name"]]
            return found[offset : offset + limit]

    def query(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Runs that fit, the newest first unless `order` says otherwise, page by page."""
        with self.lock:
            runs = [run for run in self.runs if _fits(run, asked)]
        runs.sort(key=lambda run: _moment(run["start_time"]), reverse=asked.get("order", "desc") != "asc")
        first = int(asked.get("cursor") or 0)
        last = first + min(int(asked.get("limit") or 100), 100)
        select = asked.get("select")
        # Asked for or not, a run is never without these.
        page = [{key: run.get(key) for key in {*_ALWAYS, *select}} if select else run for run in runs[first:last]]
        return {"runs": page, "cursors": {"next": str(last) if last < len(runs) else None}, "parsed_query": None}


def _fits(run: dict[str, Any], asked: dict[str, Any]) -> bool:
    return (
        (not asked.get("session") or run["session_id"] in asked["session"])
        and (not asked.get("id") or run["id"] in asked["id"])
        and (not asked.get("run_type") or run.get("run_type") == asked["run_type"])
        and (asked.get("is_root") is None or (run["parent_run_id"] is None) == asked["is_root"])
        and (asked.get("error") is None or bool(run.get("error")) == asked["error"])
        and (not asked.get("start_time") or _moment(run["start_time"]) >= _moment(asked["start_time"]))
        and (not asked.get("end_time") or _moment(run["start_time"]) <= _moment(asked["end_time"]))
    )


def _moment(text: str) -> datetime:
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)  # noqa: UP017


class Handler(BaseHTTPRequestHandler):
    """`/runs…` and `/sessions`, with and without `/api/v1` before it, as the vendor's clients call them."""

    store = Store()
    key = ""

    def do_GET(self) -> None:
        """Projects, and what the clients ask first."""
        path, query = self._asked()
        if path in ("/info", "/ok"):
            self._answer(200, {"version": "sandbox", "batch_ingest_config": None})
        elif self._known() and path == "/sessions":

            def word(name: str, default: str) -> str:
                return query.get(name, [default])[0]

            limit, offset = int(word("limit", "100")), int(word("offset", "0"))
            self._answer(200, self.store.sessions(word("name", ""), word("name_contains", ""), limit, offset))
        elif self._known():
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        """Runs come in, one or many; and are asked for."""
        path, _ = self._asked()
        body = self._body()
        if not self._known():
            return
        try:
            if path == "/runs/query":
                self._answer(200, self.store.query(body))
            elif path == "/runs":
                self.store.add(_checked(body))
                self._answer(202, {"message": "Run queued"})
            elif path == "/runs/batch":
                for run in [_checked(each) for each in body.get("post") or []]:
                    self.store.add(run)
                for run in body.get("patch") or []:
                    self.store.change(run["id"], run)
                self._answer(202, {"message": "Runs queued"})
            else:
                self._answer(404, {"detail": "Not Found"})
        except (KeyError, TypeError, ValueError) as error:
            self._answer(422, {"detail": f"{type(error).__name__}: {error}"})

    def do_PATCH(self) -> None:
        """A run ends."""
        path, _ = self._asked()
        body = self._body()
        if self._known():
            found = self.store.change(path.removeprefix("/runs/"), body)
            self._answer(202 if found else 404, {"message": "Run queued"} if found else {"detail": "Run not found"})

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return parts.path.removeprefix("/api/v1") or "/", parse_qs(parts.query)

    def _known(self) -> bool:
        good = bool(self.key) and hmac.compare_digest(self.headers.get("x-api-key", ""), self.key)
        if not good:
            self._answer(401, {"detail": "Invalid token"})
        return good

    def _body(self) -> dict[str, Any]:
        try:
            said = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def _answer(self, code: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own word
        """Nobody reads it."""


def _checked(run: dict[str, Any]) -> dict[str, Any]:
    for key in ("name", "run_type"):
        if not isinstance(run.get(key), str):
            raise ValueError(f"{key} is missing")
    uuid.UUID(run["id"])
    _moment(run["start_time"])
    return run


def main(port: int, key: str) -> None:
    """Serve until killed."""
    Handler.key = key
    ThreadingHTTPServer(("", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]).read_text().strip())
