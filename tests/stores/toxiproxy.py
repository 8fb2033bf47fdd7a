"""A real toxiproxy between opsctl and a server: latency, cuts, resets, a narrow line. Built once with Go."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.stores.ports import free_ports

VERSION = "v2.5.0"
_MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"
_TOOLS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsctl" / "tools"


def binary() -> Path:
    """The program, built when it is not there yet. Skips the test where it cannot be had."""
    wanted = _TOOLS / f"toxiproxy-{VERSION}"
    if wanted.is_file():
        return wanted
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("no toxiproxy: Go is not installed")
    _TOOLS.mkdir(parents=True, exist_ok=True)
    with (_TOOLS / "toxiproxy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other worker may be building it
        if not wanted.is_file():
            _build(go, wanted)
    return wanted


def _build(go: str, wanted: Path) -> None:
    into = _TOOLS / "toxiproxy-build"
    environment = {**os.environ, "GOBIN": str(into)}
    done = subprocess.run([go, "install", _MODULE], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no toxiproxy: go install failed: {done.stderr.strip()[-300:]}")
    (into / "server").rename(wanted)
    into.rmdir()


@dataclass(frozen=True)
class Proxy:
    """One way to a server: `port` leads there, for as long as nothing is in it."""

    api: str
    name: str
    port: int

    def toxic(self, kind: str, **attributes: Any) -> None:
        """Put something into the stream from the server: latency, bandwidth, limit_data, reset_peer, timeout …"""
        self._ask(f"/proxies/{self.name}/toxics", {"name": kind, "type": kind, "attributes": attributes})

    def heal(self) -> None:
        """Take everything out again."""
        for each in self._ask(f"/proxies/{self.name}/toxics"):
            self._ask(f"/proxies/{self.name}/toxics/{each['name']}", method="DELETE")
        self.enable(True)

    def enable(self, on: bool) -> None:
        """False cuts every connection, and refuses new ones."""
        self._ask(f"/proxies/{self.name}", {"enabled": on})

    def _ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        return _ask(self.api + path, body, method)


def _ask(url: str, body: Any = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"User-Agent": "opsctl-tests"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


@contextmanager
def toxiproxy() -> Iterator[str]:
    """Its API's address."""
    port = free_ports(1)[0]
    argv = [str(binary()), "-host", "127.0.0.1", "-port", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    api = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                _ask(f"{api}/proxies")
                break
            except (urllib.error.URLError, ConnectionError, ValueError):
                time.sleep(0.05)
        else:
            pytest.fail("toxiproxy did not answer")
        yield api
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="session")
def toxiproxy_api() -> Iterator[str]:
    """One toxiproxy for the whole session."""
    with toxiproxy() as api:
        yield api


def proxied(api: str, port: int) -> Proxy:
    """A way of its own to a port of loopback."""
    own = free_ports(1)[0]
    name = f"to-{port}-{own}"
    _ask(f"{api}/proxies", {"name": name, "listen": f"127.0.0.1:{own}", "upstream": f"127.0.0.1:{port}"})
    return Proxy(api, name, own)
