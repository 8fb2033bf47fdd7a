"""A real Weaviate on loopback: built once with Go, started with its own data folder, ended by its process id.

REST, gossip and raft listen on loopback. gRPC, metrics and the cluster's data port have no setting for an address
(v1.35.2 listens on `:port`): they are on all interfaces for as long as the tests take, the data port with a password.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from opsctl.model.secret import Secret
from opsctl.model.store import Target

VERSION = os.environ.get("OPSCTL_TEST_WEAVIATE_VERSION", "v1.35.2")
GIVEN = os.environ.get("OPSCTL_TEST_WEAVIATE_URL")  # http://127.0.0.1:8080, with its gRPC port behind #: …#50051
_MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
_TOOLS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsctl" / "tools"


def binary() -> Path:
    """The server's program, built when it is not there yet. Skips the test where it cannot be had."""
    wanted = _TOOLS / f"weaviate-server-{VERSION}"
    if wanted.is_file():
        return wanted
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("no Weaviate: Go is not installed, and OPSCTL_TEST_WEAVIATE_URL is not set")
    _TOOLS.mkdir(parents=True, exist_ok=True)
    with (_TOOLS / "weaviate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other worker may be building it
        if not wanted.is_file():
            _build(go, wanted)
    return wanted


def _build(go: str, wanted: Path) -> None:
    made = _TOOLS / "weaviate-server"
    done = subprocess.run(
        [go, "install", f"{_MODULE}@{VERSION}"],
        env={**os.environ, "GOBIN": str(_TOOLS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=850,
    )
    if done.returncode != 0:
        pytest.skip(f"no Weaviate: go install failed: {done.stderr.strip()[-300:]}")
    made.rename(wanted)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has right now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


@dataclass
class WeaviateServer:
    """One server; `process` is None where its address was given from outside."""

    url: str
    grpc_port: int
    metrics_port: int = 0
    folder: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _ports: tuple[int, ...] = ()
    _password: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def target(self) -> Target:
        """As opsctl reaches it."""
        key = self.settings.get("AUTHENTICATION_APIKEY_ALLOWED_KEYS")
        shown = self.url.partition("://")[2]
        return Target("weaviate", Secret(self.url), shown, shown, Secret(key) if key else None, self.grpc_port)

    @property
    def metrics(self) -> str:
        """Where its metrics are."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def start(self) -> None:
        """Start it on its ports, and wait until it is ready."""
        assert self.folder is not None
        port = self.url.rpartition(":")[2]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [str(binary()), "--host", "127.0.0.1", "--port", port, "--scheme", "http"],
            env={**os.environ, **self._environment()},
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )
        log.close()
        for _ in range(600):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            if self.ready():
                return
            time.sleep(0.1)
        pytest.fail(f"Weaviate was not ready in a minute: {(self.folder / 'log').read_text()[-2000:]}")

    def ready(self) -> bool:
        """Whether it says that it is."""
        try:
            with urllib.request.urlopen(f"{self.url}/v1/.well-known/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        """End it as an operator would, or harder."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def _environment(self) -> dict[str, str]:
        gossip, data, raft, rpc = self._ports
        return {
            "PERSISTENCE_DATA_PATH": str(self.folder),
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
            "CLUSTER_DATA_BIND_PORT": str(data),
            "CLUSTER_BASIC_AUTH_USERNAME": "node1",
            "CLUSTER_BASIC_AUTH_PASSWORD": self._password,
            "RAFT_PORT": str(raft),
            "RAFT_INTERNAL_RPC_PORT": str(rpc),
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "RAFT_TIMEOUTS_MULTIPLIER": "1",
            "GRPC_PORT": str(self.grpc_port),
            "PROMETHEUS_MONITORING_ENABLED": "true",
            "PROMETHEUS_MONITORING_PORT": str(self.metrics_port),
            "GO_PROFILING_DISABLE": "true",
            "DISABLE_TELEMETRY": "true",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "LOG_LEVEL": "warning",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
            **self.settings,
        }


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[WeaviateServer]:
    """A server of its own for one test; `settings` go into its environment."""
    rest, grpc, metrics, *inner = free_ports(7)
    server = WeaviateServer(f"http://127.0.0.1:{rest}", grpc, metrics, folder, settings, None, tuple(inner))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def weaviate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WeaviateServer]:
    """One server for the whole session: tests use collections of their own names."""
    if GIVEN:
        url, _, grpc = GIVEN.partition("#")
        yield WeaviateServer(url.rstrip("/"), int(grpc or 50051))
        return
    with running(tmp_path_factory.mktemp("weaviate")) as server:
        yield server
