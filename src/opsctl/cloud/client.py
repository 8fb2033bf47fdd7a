"""Requests to a provider's HTTP API: bounded, cancelled at once, repeated only where a repetition does no harm."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opsctl import __version__
from opsctl.cloud.answers import Again, Lost, judge, seconds_to_wait, spacing
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Tell
from opsctl.model.errors import DeadlineExceeded, UnreachableError
from opsctl.model.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import httpx
    from tenacity import RetryCallState

CONNECT = 5.0  # s
ANSWER = 20.0  # s; one request, from its first byte to the last of the answer
PATIENCE = 90.0  # s; what a request may take with all its repetitions
ATTEMPTS = 5
BACKOFF = 0.5  # s before the first repetition; doubled each time
PER_PAGE = 200  # the most that the API gives
_IDEMPOTENT = ("GET", "PUT", "DELETE", "HEAD")
_PAGES = 500  # an API whose pages never end is broken


def quiet(_state: str) -> None:
    """A Tell for those who wait for nothing."""


class Client:
    """One account at one API. Closed by `close`; safe to use from several threads, one request at a time."""

    def __init__(self, api: str, token: Callable[[], Secret]) -> None:
        self.api = api.rstrip("/")
        self._token = token
        self.spacing = 0.0  # s between two looks at something that lasts
        self._lock = threading.Lock()
        self._runner: asyncio.Runner | None = None
        self._http: httpx.AsyncClient | None = None

    def close(self) -> None:
        """End the connections."""
        with self._lock:
            if self._runner is not None:
                if self._http is not None:
                    self._runner.run(self._http.aclose())
                self._runner.close()
            self._runner = self._http = None

    def pages(self, path: str, key: str, *, cancel: Cancel, **query: str) -> Iterator[Any]:
        """Every item of a list, page by page as the API links them."""
        answer = self.get(path, cancel=cancel, query={**query, "per_page": str(PER_PAGE)})
        for _ in range(_PAGES):
            yield from answer.get(key) or ()
            following = ((answer.get("links") or {}).get("pages") or {}).get("next")
            if not following:
                return
            answer = self.get(self._own(str(following)), cancel=cancel)
        raise UnreachableError(f"{self.api}{path} does not end", why=f"more than {_PAGES} pages")

    def _own(self, address: str) -> str:
        # The token goes to the API that was named, wherever a link in an answer may point.
        parts = urlsplit(address)
        path = parts.path.removeprefix(urlsplit(self.api).path)
        return f"{path}?{parts.query}" if parts.query else path

    def get(self, path: str, *, cancel: Cancel, query: Mapping[str, str] | None = None, tell: Tell = quiet) -> Any:
        """Read something."""
        return self.request("GET", path, cancel=cancel, query=query, tell=tell)

    def request(
        self,
        method: str,
        path: str,
        *,
        cancel: Cancel,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        tell: Tell = quiet,
    ) -> Any:
        """The JSON of an answer, None where it is empty.

        Raises Lost for a POST of which nobody knows whether it was done; UnreachableError, ConfigError, UsageError,
        StepFailed for what was refused; DeadlineExceeded, Interrupted.
        """
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

        bound = cancel.child(PATIENCE)

        def pause(seconds: float) -> None:
            bound.wait(seconds)
            bound.check(f"an answer of {self.api}")

        retrying = Retrying(
            sleep=pause,
            stop=stop_after_attempt(ATTEMPTS),
            wait=_pause,
            retry=retry_if_exception_type(Again),
            before_sleep=lambda state: _say(state, tell),
            reraise=True,
        )
        try:
            return retrying(self._once, method, path, body, query, bound)
        except Again as error:
            raise error.final from None
        except DeadlineExceeded:
            cancel.check(f"an answer of {self.api}")
            raise UnreachableError(
                f"{self.api} did not answer within {PATIENCE:g} s",
                why=f"{method} {path} was tried again and again",
                next="https://status.digitalocean.com",
            ) from None

    def _once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        cancel: Cancel,
    ) -> Any:
        import httpx

        repeat = method in _IDEMPOTENT
        with self._lock:
            try:
                http = self._open()
                request = http.build_request(method, f"{self.api}{path}", json=body, params=query)
                answer = self._run(_watched(http.send(request), cancel))
            except httpx.InvalidURL as error:
                raise UnreachableError(f"{self.api} is no address", why=str(error)) from None
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                # Nothing was sent: also a POST may be repeated.
                raise Again(_unreachable(self.api, error)) from None
            except (httpx.TransportError, TimeoutError) as error:
                final = _unreachable(self.api, error)
                raise (Again(final) if repeat else Lost(final)) from None
        self.spacing = spacing(answer.headers)
        return judge(answer.status_code, answer.headers, answer.content, f"{method} {path}", api=self.api)

    def _open(self) -> httpx.AsyncClient:
        import httpx

        if self._runner is None:
            self._runner = asyncio.Runner()
        if self._http is None:
            headers = {
                "Authorization": f"Bearer {self._token().reveal()}",
                "User-Agent": f"opsctl/{__version__}",
                "Accept": "application/json",
            }
            timeout = httpx.Timeout(ANSWER, connect=CONNECT)
            # To read the certificates that are trusted takes 0.1 s: not for a stand-in on loopback.
            verify = not self.api.startswith("http:")
            self._http = httpx.AsyncClient(headers=headers, timeout=timeout, follow_redirects=False, verify=verify)
        return self._http

    def _run(self, work: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        assert self._runner is not None
        return self._runner.run(work)


async def _watched(work: Coroutine[Any, Any, httpx.Response], cancel: Cancel) -> httpx.Response:
    """End a request as soon as its token is done: httpx's own times only bound each single read."""
    task = asyncio.ensure_future(work)
    own = cancel.child(ANSWER)
    while not (await asyncio.wait({task}, timeout=0.1))[0]:
        if own.done:
            task.cancel()
            await asyncio.wait({task})
            cancel.check("an answer of the provider")
            raise TimeoutError(f"no whole answer within {ANSWER:g} s")
    return task.result()


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.after if isinstance(error, Again) else None
    if asked is not None:
        return seconds_to_wait(asked)
    doubled: float = min(8.0, BACKOFF * 2 ** (state.attempt_number - 1))
    return doubled * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def _say(state: RetryCallState, tell: Tell) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, Again) and state.next_action is not None:
        tell(f"{error.final.info.what}; asking again in {state.next_action.sleep:.0f} s")


def _unreachable(api: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"{api} cannot be reached",
        why=str(error) or type(error).__name__,
        next="https://status.digitalocean.com   (or your own network)",
    )
