"""Metrics and traces as their providers' APIs answer: Prometheus' (Grafana Cloud's is the same) and LangSmith's."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from opsctl import __version__
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed, UnreachableError
from opsctl.model.probing import Runs, Samples, Series
from opsctl.model.secret import Secret

_MOST = 64 * 2**20  # bytes of an answer


class _Answer(NamedTuple):
    status: int
    body: bytes
    now: float  # the server's own time


class HttpEvidence:
    """Implements Evidence over plain HTTP(S)."""

    def http(self, url: str, *, cancel: Cancel, timeout: float) -> int:
        """See Evidence."""
        return _ask("GET", url, {}, None, cancel, timeout).status

    def json(self, url: str, *, token: Secret, cancel: Cancel, timeout: float) -> Any:
        """See Evidence."""
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        return _json(_ask("GET", url, headers, None, cancel, timeout), url)

    def samples(
        self, api: str, selector: str, over: float, *, user: str, token: Secret, cancel: Cancel, timeout: float
    ) -> Samples:
        """See Evidence. One instant query of a range selector: the samples as they came, with their own times."""
        headers = {}
        if token:
            pair = base64.b64encode(f"{user}:{token.reveal()}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}" if user else f"Bearer {token.reveal()}"
        query = urlencode({"query": f"{selector}[{max(1, round(over))}s]"})
        url = f"{api.rstrip('/')}/api/v1/query"
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = _ask("POST", url, headers, query.encode(), cancel, timeout)
        said = _json(answer, url)
        if said.get("status") != "success":
            raise StepFailed(
                f"the selector {selector} is not understood",
                why=str(said.get("error", "the API says no more")),
                next='write it like up{job="agents"}: no function, no range',
                code="probe-selector",
            )
        try:
            found = tuple(
                Series(each["metric"], tuple(float(stamp) for stamp, _ in each["values"]))
                for each in said["data"]["result"]
            )
        except (KeyError, TypeError, ValueError):
            raise _strange(url, "samples of a range") from None
        return Samples(found, answer.now)

    def newest_run(self, api: str, project: str, *, token: Secret, cancel: Cancel, timeout: float) -> Runs:
        """See Evidence."""
        base = api.rstrip("/").removesuffix("/api/v1") + "/api/v1"
        headers = {"x-api-key": token.reveal(), "Content-Type": "application/json"}
        url = f"{base}/sessions?{urlencode({'name': project, 'limit': 1})}"
        projects = _json(_ask("GET", url, headers, None, cancel, timeout), url)
        if not isinstance(projects, list):
            raise _strange(url, "a list of projects")
        if not projects:
            raise StepFailed(
                f"there is no project {project!r}",
                why=f"{base} knows none of that name",
                next="look at LANGSMITH_PROJECT of the services",
                code="probe-project",
            )
        url = f"{base}/runs/query"
        wanted = {"session": [projects[0]["id"]], "limit": 1, "order": "desc", "select": ["id", "name", "start_time"]}
        answer = _ask("POST", url, headers, json.dumps(wanted).encode(), cancel, timeout)
        try:
            runs = _json(answer, url)["runs"]
            if not runs:
                return Runs(None, "", answer.now)
            return Runs(_stamp(runs[0]["start_time"]), str(runs[0]["name"]), answer.now)
        except (KeyError, TypeError, ValueError):
            raise _strange(url, "runs") from None


def _ask(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, cancel: Cancel, timeout: float
) -> _Answer:
    cancel.check(f"an answer of {_shown(url)}")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{_shown(url)} is no address", why="it begins with http:// or https://", next="opsctl config show"
        )
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    peer = kind(parts.hostname, parts.port, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        peer.request(method, target, body=body, headers={"User-Agent": f"opsctl/{__version__}", **headers})
        answer = peer.getresponse()
        return _Answer(answer.status, answer.read(_MOST), _time_of(answer.getheader("Date")))
    except (OSError, http.client.HTTPException) as error:
        why = (
            f"no answer within {timeout:g} s"
            if isinstance(error, socket.timeout)
            else str(error) or type(error).__name__
        )
        raise UnreachableError(
            f"{_shown(url)} does not answer", why=why, next="look at the address that was asked: opsctl config show"
        ) from None
    finally:
        peer.close()


def _json(answer: _Answer, url: str) -> Any:
    if answer.status in (401, 403):
        raise ConfigError(
            f"{_shown(url)} refuses the key", why=f"HTTP {answer.status}", next="look at the probe's `user` and `token`"
        )
    try:
        said = json.loads(answer.body)
    except ValueError:
        raise _strange(url, f"JSON (HTTP {answer.status})") from None
    if answer.status >= 400 and not (isinstance(said, dict) and said.get("status") == "error"):
        raise UnreachableError(f"{_shown(url)} answers with HTTP {answer.status}", why=str(said)[:200])
    return said


def _strange(url: str, wanted: str) -> StepFailed:
    return StepFailed(
        f"{_shown(url)} did not answer with {wanted}", why="it is another API", next="look at the probe's `url`"
    )


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _time_of(date: str | None) -> float:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return time()


def _stamp(text: str) -> float:
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
