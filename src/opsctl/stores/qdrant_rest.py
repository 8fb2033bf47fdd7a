"""Qdrant's REST protocol: bounded, and repeated over a short outage, for everything asked here may be asked twice."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import from_json, to_json

from opsctl import __version__
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, UnreachableError
from opsctl.model.store import Target

if TYPE_CHECKING:
    import httpx

CONNECT = 5.0  # s
ANSWER = 60.0  # s; an upsert waits until it is applied
PATIENCE = 60.0  # s of outage until a server is given up
MEETING = 5.0  # s until one that has never answered is given up
FIRST_PAUSE = 0.2  # s before the first repetition; doubled each time
LONGEST_PAUSE = 5.0  # s
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_DENIED = (401, 403)


class Refusal(Exception):
    """The server understood and said no, in its own words; asking again would not help."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def path_of(collection: str, rest: str = "") -> str:
    """The path of a collection, or of something in it."""
    return f"/collections/{quote(collection, safe='')}{rest}"


class Rest:
    """One server. Used from several threads; connects at first use.

    `patience` is how many seconds of outage are waited out before UnreachableError.
    """

    def __init__(self, target: Target, *, patience: float = PATIENCE) -> None:
        self.target = target
        self.shown = target.shown
        self._patience = patience
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None
        self._met = False

    def close(self) -> None:
        """End the connections; safe to call twice."""
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = None

    def get(self, path: str, *, cancel: Cancel) -> Any:
        """What is read there. Raises Refusal, UnreachableError, Interrupted."""
        return self.call("GET", path, cancel=cancel)

    def call(self, method: str, path: str, body: Any = None, *, cancel: Cancel) -> Any:
        """The `result` of an answer; `body` is JSON already where it is bytes. Raises as `raw`."""
        return parsed(self.raw(method, path, body, cancel=cancel), path)

    def raw(self, method: str, path: str, body: Any = None, *, cancel: Cancel) -> bytes:
        """The whole of an answer, as it came.

        Raises Refusal, UnreachableError (away for longer than the patience, or the key is not accepted), Interrupted.
        """
        data = body if isinstance(body, bytes) or body is None else to_json(body)
        patience = self._patience if self._met else min(MEETING, self._patience)
        bound, pause = cancel.child(patience), FIRST_PAUSE
        while True:
            try:
                result = self._once(method, path, data, cancel.remaining)
                self._met = True
                return result
            except _Again as again:
                wait = again.after if again.after is not None else pause
                bound.wait(min(wait, LONGEST_PAUSE))
                cancel.check(f"an answer of {self.shown}")
                if bound.done:
                    raise self._away(str(again), patience) from None
            pause = min(2 * pause, LONGEST_PAUSE)

    def _once(self, method: str, path: str, data: bytes | None, remaining: float | None) -> bytes:
        import httpx

        try:
            timeout = httpx.Timeout(ANSWER if remaining is None else min(ANSWER, remaining + 0.1), connect=CONNECT)
            answer = self._client().request(method, path, content=data, timeout=timeout)
        except httpx.TransportError as error:
            raise _Again(str(error) or type(error).__name__) from None
        if answer.is_success:
            return answer.content
        words = _words(answer)
        if answer.status_code in _TRANSIENT:
            raise _Again(words, _seconds(answer.headers.get("retry-after")))
        if answer.status_code in _DENIED:
            raise self._denied(words)
        raise Refusal(answer.status_code, words)

    def _client(self) -> httpx.Client:
        import httpx

        from opsctl.stores.http_bulk import bulk_transport

        with self._lock:
            if self._http is None:
                headers = {"content-type": "application/json", "user-agent": f"opsctl/{__version__}"}
                # Vectors hardly shrink, and both sides would pay for it with the time that is scarce here.
                headers["accept-encoding"] = "identity"
                if self.target.api_key:
                    headers["api-key"] = self.target.api_key.reveal()
                url = self.target.url.reveal().rstrip("/")
                limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
                self._http = httpx.Client(base_url=url, headers=headers, limits=limits, transport=bulk_transport(url))
            return self._http

    def _denied(self, words: str) -> UnreachableError:
        key = "its API key is not accepted" if self.target.api_key else "it wants an API key"
        return UnreachableError(
            f"Qdrant at {self.shown} lets nobody in: {key}",
            why=words,
            next="opsctl config show   (stores: its key is read from there, or from the variable named there)",
            code="denied",
        )

    def _away(self, words: str, patience: float) -> UnreachableError:
        what = f"did not answer for {patience:g} s" if patience else "does not answer"
        via, scheme = self.target.via, self.target.url.reveal().partition("://")[0]
        look = f"opsctl status -d {via}" if via else f"curl -sS {scheme}://{self.shown.rstrip('/')}/healthz"
        asks = "   (does it run, and listen there?)"
        return UnreachableError(f"Qdrant at {self.shown} {what}", why=words, next=look + asks)


class _Again(Exception):
    """It may go better next time, perhaps not before `after` seconds."""

    def __init__(self, words: str, after: float | None = None) -> None:
        super().__init__(words)
        self.after = after


def parsed(content: bytes, path: str) -> Any:
    """The `result` of an answer. Raises ConfigError for what no Qdrant answers."""
    try:
        answer = from_json(content)
    except ValueError:
        if path in ("/healthz", "/readyz"):
            return content.decode(errors="replace")
        raise ConfigError(
            "that is no Qdrant server", why=f"{path} answered something else than JSON", next="check the URL"
        ) from None
    return answer.get("result", answer) if isinstance(answer, dict) else answer


def _words(answer: httpx.Response) -> str:
    text = answer.content.decode(errors="replace").strip()
    try:
        status = from_json(answer.content)["status"]
        text = str(status["error"] if isinstance(status, Mapping) else status)
    except (ValueError, KeyError, TypeError):
        pass
    return (text or answer.reason_phrase or f"HTTP {answer.status_code}")[:500]


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
