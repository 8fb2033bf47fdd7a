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
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

REPOSITORY = Path(__file__).parents[2]
REAL = os.environ.get("OPSCTL_TEST_QDRANT_URL", "")  # in the place of the cloud
REAL_KEY = os.environ.get("OPSCTL_TEST_QDRANT_API_KEY", "")
REAL_SOURCE = os.environ.get("OPSCTL_TEST_QDRANT_SOURCE_URL", "")  # in the place of the local one; without a key


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

    def clear(self) -> None:
        """Delete the collections."""
        for name in self.names():
            self.client().delete_collection(name)

    def names(self) -> set[str]:
        """The collections that are there."""
        return {each.name for each in self.client().get_collections().collections}


class Given(Standin):
    """A real server whose address was given. What is there stays; what tests make goes; nobody makes it fail."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self._url = url.rstrip("/")
        super().__init__(api_key=api_key)
        self.port = urlsplit(url).port or 6333
        self._before = self.names()

    @property
    def url(self) -> str:
        return self._url

    def start(self) -> None:
        """It runs."""

    def kill(self) -> None:
        """It goes on."""
        self.clear()

    def faults(self, **faults: float) -> None:
        if faults:
            pytest.skip("a real server is not told to fail; the stand-in is")

    def clear(self) -> None:
        for name in self.names() - self._before:
            self.client().delete_collection(name)


def local_server() -> Standin:
    """A server without a key, as beside an agent stack: the one whose address is given, else a stand-in."""
    return Given(REAL_SOURCE) if REAL_SOURCE else Standin()


def cloud_server(folder: Path | None = None, api_key: str = "cloud-key-of-the-tests") -> Standin:
    """A server that wants a key: the one whose address is given, else a stand-in."""
    return Given(REAL, REAL_KEY) if REAL else Standin(folder, api_key)


@pytest.fixture(scope="module")
def qdrant() -> Iterator[Standin]:
    """A server without a key, as beside an agent stack, for a whole module."""
    server = local_server()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def qdrant_cloud() -> Iterator[Standin]:
    """A server that wants a key, for a whole module."""
    server = cloud_server()
    yield server
    server.kill()


@pytest.fixture
def any_qdrant(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """URL and key of the real server whose address is given, else of the stand-in that wants a key."""
    server = request.getfixturevalue("qdrant_cloud")
    yield server.url, server.api_key


@pytest.fixture
def collection() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
