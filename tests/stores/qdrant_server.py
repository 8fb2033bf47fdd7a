"""Qdrant servers for tests: the stand-in as a process of its own, or a real one whose address is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

REPOSITORY = Path(__file__).parents[2]
REAL = os.environ.get("OPSCTL_TEST_QDRANT_URL", "")
REAL_KEY = os.environ.get("OPSCTL_TEST_QDRANT_API_KEY", "")


class Standin:
    """One stand-in on a loopback port, which it keeps over a restart."""

    def __init__(self, folder: Path | None = None, api_key: str = "") -> None:
        self.folder, self.api_key, self.port = folder, api_key, 0
        self.process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["--port", str(self.port), "--api-key", self.api_key]
        words += ["--folder", str(self.folder)] if self.folder else []
        argv = [sys.executable, "-m", "tests.stores.qdrant_standin", *words]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()  # or its end, should it fail
        assert said.startswith("ready "), "the stand-in did not start"
        self.port = int(said.split()[1])

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def faults(self, **faults: float) -> None:
        """From now on; none without any."""
        body = Request(f"{self.url}/standin/faults", json.dumps(faults).encode(), method="PUT")
        with urlopen(body, timeout=10):
            pass

    def client(self) -> Any:
        """The vendor's own client, over HTTP."""
        from qdrant_client import QdrantClient

        return QdrantClient(url=self.url, api_key=self.api_key or None, timeout=30, check_compatibility=False)


@pytest.fixture(scope="module")
def qdrant() -> Iterator[Standin]:
    """A server without a key, as beside an agent stack, for a whole module."""
    server = Standin()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def qdrant_cloud() -> Iterator[Standin]:
    """A server that wants a key, for a whole module."""
    server = Standin(api_key="cloud-key-of-the-tests")
    yield server
    server.kill()


@pytest.fixture
def any_qdrant(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """URL and key of the real server whose address is given, else of the stand-in that wants a key."""
    if REAL:
        yield REAL, REAL_KEY
        return
    server = request.getfixturevalue("qdrant_cloud")
    yield server.url, server.api_key


@pytest.fixture
def collection() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
