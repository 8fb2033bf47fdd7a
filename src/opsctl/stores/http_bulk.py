"""An httpx transport for answers of megabytes, on the standard library's HTTP.

httpx's own hands an answer through a protocol parser in Python, 64 KiB at a time, which for a page of points costs
more than half of what reading its JSON does. Here the socket is read straight into the answer.
"""

from __future__ import annotations

import select
import ssl
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.request import getproxies, proxy_bypass

import httpx

_IDLE = 64  # connections that are kept


def bulk_transport(url: str) -> httpx.BaseTransport | None:
    """The transport for one server; None, which is httpx's own, where a proxy leads there."""
    parts = httpx.URL(url)
    proxies = getproxies()
    proxied = proxies.get(parts.scheme) or proxies.get("all")
    return None if proxied and not proxy_bypass(parts.host) else _Bulk()


class _Bulk(httpx.BaseTransport):
    """Connections are kept, and used by one thread at a time. Raises httpx's TransportError as its own does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[httpx.URL, HTTPConnection]] = []  # with where it leads
        self._closed = False
        self._trust: ssl.SSLContext | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request, its whole answer read."""
        limits = request.extensions.get("timeout", {})
        origin = request.url.join("/")
        connection = self._kept(origin) or self._opened(origin, limits.get("connect"))
        done = False
        try:
            connection.sock.settimeout(limits.get("read"))
            path, body = request.url.raw_path.decode("ascii"), request.read()
            # A server may refuse before it has read everything, and its answer says why.
            with suppress(BrokenPipeError):
                connection.request(request.method, path, body or None, dict(request.headers.items()))
            answer = connection.getresponse()
            content, headers = answer.read(), answer.getheaders()
            done = not answer.will_close
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error) or "timed out", request=request) from error
        except OSError as error:
            raise httpx.ReadError(str(error), request=request) from error
        except HTTPException as error:
            raise httpx.RemoteProtocolError(str(error) or type(error).__name__, request=request) from error
        finally:
            self._back(origin, connection, reusable=done)
        return httpx.Response(answer.status, headers=headers, content=content)

    def close(self) -> None:
        """End the connections; one in use ends with its answer."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _origin, each in idle:
            each.close()

    def _kept(self, origin: httpx.URL) -> HTTPConnection | None:
        """One that the server has not closed meanwhile: a closed one can be read from, and nothing else is due."""
        while True:
            with self._lock:
                found = next((each for each in reversed(self._idle) if each[0] == origin), None)
                if found is None:
                    return None
                self._idle.remove(found)
            connection = found[1]
            look = select.poll()
            look.register(connection.sock, select.POLLIN)
            if not look.poll(0):
                return connection
            connection.close()

    def _opened(self, url: httpx.URL, patience: float | None) -> HTTPConnection:
        host = url.raw_host.decode("ascii")
        connection: HTTPConnection
        if url.scheme == "https":
            connection = HTTPSConnection(host, url.port or 443, timeout=patience, context=self._trusted())
        else:
            connection = HTTPConnection(host, url.port or 80, timeout=patience)
        try:
            connection.connect()
        except TimeoutError as error:
            connection.close()
            raise httpx.ConnectTimeout(str(error) or "timed out") from error
        except OSError as error:  # ssl's errors too
            connection.close()
            raise httpx.ConnectError(str(error)) from error
        return connection

    def _trusted(self) -> ssl.SSLContext:
        """The certificates that httpx itself would trust."""
        with self._lock:
            if self._trust is None:
                self._trust = httpx.create_ssl_context()
                self._trust.set_alpn_protocols(["http/1.1"])
            return self._trust

    def _back(self, origin: httpx.URL, connection: HTTPConnection, *, reusable: bool) -> None:
        with self._lock:
            if reusable and not self._closed and len(self._idle) < _IDLE:
                self._idle.append((origin, connection))
                return
        connection.close()
