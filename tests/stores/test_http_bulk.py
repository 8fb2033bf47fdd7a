"""The transport for large answers: beside httpx's own on a real server, and where connections end."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from opsctl.stores.http_bulk import bulk_transport

MEGABYTE = 1 << 20


class Echo(BaseHTTPRequestHandler):
    """Says what it was asked, gives megabytes, refuses before it has read, or closes after an answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if self.path.startswith("/refuse"):
            self.close_connection = True
            return self.answer(413, b"too large")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/large"):
            return self.answer(200, b"x" * (3 * MEGABYTE))
        if self.path.startswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return None
        if self.path.startswith("/silent"):
            assert isinstance(self.server, Server)
            self.server.released.wait(10)
            self.close_connection = True
            return None
        said = f"{self.command} {self.path} {self.headers.get('X-Own')} {len(body)} {self.client_address[1]}"
        self.answer(200, said.encode())
        if self.path.startswith("/once"):  # without a word: the client learns of it when it comes again
            self.close_connection = True
        return None

    do_GET = do_POST

    def answer(self, code: int, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Says when it has closed a connection."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.released, self.closed = threading.Event(), threading.Event()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.set()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    yield server
    server.released.set()
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    transport = bulk_transport(url)
    assert transport is not None
    with httpx.Client(base_url=url, headers={"x-own": "kept"}, transport=transport, timeout=5) as made:
        yield made


def port_of(answer: httpx.Response) -> str:
    return answer.text.rsplit(" ", 1)[1]


def test_it_says_what_httpx_says_over_one_connection(client: httpx.Client, url: str) -> None:
    with httpx.Client(base_url=url, headers={"x-own": "kept"}) as own:
        for method, path, body in (("GET", "/a%20b?c=d%2Fe", None), ("POST", "/up", b"y" * MEGABYTE)):
            ours, theirs = client.request(method, path, content=body), own.request(method, path, content=body)
            assert (ours.status_code, ours.text.rsplit(" ", 1)[0]) == (200, theirs.text.rsplit(" ", 1)[0])
    assert port_of(client.get("/one")) == port_of(client.get("/two"))
    assert len(client.post("/large", content=b"").content) == 3 * MEGABYTE


def test_a_connection_that_the_server_closed_is_not_used_again(client: httpx.Client, server: Server) -> None:
    server.closed.clear()
    first = port_of(client.get("/once"))
    assert server.closed.wait(10)
    assert port_of(client.get("/again")) != first


def test_threads_have_connections_of_their_own(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda _: len(client.post("/large", content=b"z").content), range(24)))
    assert sizes == [3 * MEGABYTE] * 24


def test_a_refusal_that_comes_before_all_was_sent_is_read(client: httpx.Client) -> None:
    answer = client.post("/refuse", content=b"w" * 64)
    assert (answer.status_code, answer.text) == (413, "too large")


def test_what_breaks_is_said_in_httpx_s_errors(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/cut")
    with pytest.raises(httpx.ReadTimeout):
        client.get("/silent", timeout=0.1)
    assert client.get("/after").status_code == 200
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError):
            client.get(f"http://127.0.0.1:{free.getsockname()[1]}/")
    with pytest.raises(httpx.ConnectError) as refused:  # it speaks no TLS
        client.get(str(client.base_url).replace("http:", "https:"))
    assert isinstance(refused.value.__cause__, ssl.SSLError)


def test_where_a_proxy_leads_there_httpx_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert bulk_transport("https://cloud.example:6333") is not None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert bulk_transport("https://cloud.example:6333") is None
    assert bulk_transport("http://cloud.example:6333") is not None
    monkeypatch.setenv("no_proxy", "cloud.example")
    assert bulk_transport("https://cloud.example:6333") is not None
