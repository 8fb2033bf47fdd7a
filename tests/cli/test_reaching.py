"""A store as it is named on the command line, and the way that leads there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.hosts.support import SSHD, Sshd
from tests.stores.redis_server import with_tls

from opsctl.cli.context import Context
from opsctl.cli.process import Process
from opsctl.cli.stores import Stores
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError, UsageError
from opsctl.model.secret import Secret
from opsctl.stores.redis_link import RedisLink


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a Stores over a stack file's text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_STACK", raising=False)
    opened = []

    def make(text: str = "", *droplets: str) -> Stores:
        path = tmp_path / "opsctl.yaml"
        path.write_text(f"version: 1\n{text}")
        ctx: Any = SimpleNamespace(
            obj=Process(("migrate", "x")), command=SimpleNamespace(params=[]), command_path="opsctl migrate x"
        )
        made = Stores(Context(ctx, stack=path, droplets=droplets), stack=path, droplets=droplets)
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.__exit__(None, None, None)


@pytest.fixture
def server() -> Iterator[int]:
    """A port on loopback that sends three bytes to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)

        def serve() -> None:
            try:
                while True:
                    with listening.accept()[0] as one:
                        one.sendall(b"abc")
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def refused(kind: type[OpsError], call: Any) -> OpsError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def test_a_store_by_its_name(stores: Any) -> None:
    found = stores('stores: {memory: {redis: "rediss://u:hunter2@db.example.com/2"}}').target("memory", ("redis",))
    assert (found.kind, found.shown, found.identity) == ("redis", *2 * ("db.example.com:6379/2",))
    assert found.url.reveal() == "rediss://u:hunter2@db.example.com/2"
    assert "hunter2" not in repr(found)


def test_its_password_is_masked_wherever_it_turns_up(stores: Any) -> None:
    made = stores('stores: {memory: {redis: "rediss://u:hunter2@db.example.com/2"}}')
    made.target("memory", ("redis",))
    assert "hunter2" not in made.context.redact("NOAUTH hunter2 is wrong")


def test_loopback_names_this_machine(stores: Any) -> None:
    assert stores().target("redis://localhost", ("redis",)).identity.startswith(f"{socket.gethostname()}!")


@pytest.mark.parametrize(
    ("text", "instead"),
    [("redis://10.0.0.5", "rediss://"), ("postgresql://u@db/x?sslmode=prefer", "verify-full")],
)
def test_what_would_travel_in_the_clear_is_refused(stores: Any, text: str, instead: str) -> None:
    error = refused(ConfigError, lambda: stores().target(text, ("redis", "postgres")))
    assert error.exit_code == 3
    assert "plain text" in error.info.what
    assert instead in error.info.next
    assert "--from-via" in error.info.next


def test_in_the_stack_file_too_and_it_says_via(stores: Any) -> None:
    made = stores('stores: {v: {weaviate: "http://10.0.0.5:8080"}}')
    error = refused(ConfigError, lambda: made.target("v", ("weaviate",)))
    assert "stores.v" in error.info.what
    assert "`via: DROPLET`" in error.info.next


def test_unless_the_wire_is_ones_own(stores: Any) -> None:
    made = stores('stores: {v: {weaviate: "http://10.0.0.5:8080", plaintext: true, grpc_port: 50052}}')
    assert made.target("v", ("weaviate",)).grpc_port == 50052


def test_postgres_is_asked_for_with_tls(stores: Any) -> None:
    assert stores().target("postgresql://u@db/x", ("postgres",)).url.reveal().endswith("?sslmode=require")


def test_a_password_in_an_argument_is_refused_and_not_repeated(stores: Any) -> None:
    error = refused(UsageError, lambda: stores().target("rediss://u:hunter2@db", ("redis",), flag="--to"))
    assert "hunter2" not in f"{error.info}"
    assert "--to" in error.info.next


@pytest.mark.parametrize("text", ["memry", "localhost:6379", ""])
def test_what_is_neither_name_nor_url(stores: Any, text: str) -> None:
    made = stores('stores: {memory: {redis: "redis://localhost"}}')
    error = refused(UsageError, lambda: made.target(text, ("redis",)))
    assert "memory" in f"{error.info.why}{error.info.next}"


def test_a_store_of_another_kind(stores: Any) -> None:
    made = stores('stores: {memory: {redis: "redis://localhost"}}')
    assert "expected weaviate" in refused(UsageError, lambda: made.target("memory", ("weaviate",))).info.why


def test_a_broken_url_of_the_stack_file_is_told_with_its_line(stores: Any) -> None:
    made = stores('stores:\n  memory: {redis: "http://u:hunter2@h"}')
    error = refused(ConfigError, lambda: made.target("memory", ("redis",)))
    assert (error.info.path, error.info.line) == ("opsctl.yaml", 3)
    assert "hunter2" not in f"{error.info}"


def test_a_file_lies_beside_the_stack_file(stores: Any, tmp_path: Path) -> None:
    made = stores("stores: {state: {json: graph_state.json}}")
    assert made.target("state", ("json",)).url.reveal() == str(tmp_path / "graph_state.json")
    assert made.target("./other.json", ("json",)).identity.endswith(f"!{tmp_path}/other.json")


def test_the_way_through_a_droplet(stores: Any, server: int) -> None:
    made = stores(
        f'droplets: {{app: {{address: local}}}}\nstores: {{m: {{redis: "redis://127.0.0.1:{server}/1", via: app}}}}'
    )
    with made:
        found = made.target("m", ("redis",), flag="--from")
        assert (found.via, found.identity) == ("app", f"{socket.gethostname()}!127.0.0.1:{server}/1")
        port = int(found.url.reveal().rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
            assert one.recv(3) == b"abc"
        assert made.targets["--from"] is found


def test_the_way_of_a_url_is_an_option(stores: Any, server: int) -> None:
    with stores("", "local") as made:
        assert made.target(f"redis://127.0.0.1:{server}", ("redis",), via="local").via == "local"


def test_tls_inside_ssh_is_refused(stores: Any) -> None:
    made = stores('droplets: {app: {address: local}}\nstores: {m: {weaviate: "https://v.example.com", via: app}}')
    assert "certificate" in refused(ConfigError, lambda: made.target("m", ("weaviate",))).info.why


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A droplet of a stack file behind a real sshd, and the URL of a Redis with TLS beyond it."""
    if not Path(SSHD).exists():
        pytest.skip("no sshd on this machine (apt install openssh-server)")
    (tmp_path / "ssh_config").touch()
    monkeypatch.setenv("OPSCTL_SSH_CONFIG", str(tmp_path / "ssh_config"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd = Sshd(tmp_path / "sshd")
    try:
        with with_tls() as server:
            app = sshd.droplet()
            entry = {"address": app.address, "key": str(app.key), "known_hosts": str(app.known_hosts)}
            yield f"droplets: {json.dumps({'app': entry})}", server.url
    finally:
        sshd.stop()


def test_tls_inside_ssh_is_checked_against_the_servers_own_name(stores: Any, behind: tuple[str, str]) -> None:
    droplets, url = behind
    named = url.replace("127.0.0.1", "localhost")
    with stores(f'{droplets}\nstores: {{named: {{redis: "{named}", via: app}}}}') as made:
        found = made.target("named", ("redis",))
        assert found.server_name == "localhost"
        assert urlsplit(found.url.reveal()).port != urlsplit(url).port, "it leads through the SSH connection"
        link = RedisLink(found)
        assert link.ask([("SET", "a", "1"), ("GET", "a")], Cancel(30)) == [b"OK", b"1"]
        link.close()
        # The same server, where another one was meant.
        link = RedisLink(replace(found, server_name="db.example.com"))
        error = refused(ConfigError, lambda: link.ask([("PING",)], Cancel(30)))
        assert error.info.code == "certificate" and "db.example.com" in error.info.why
        link.close()
        # Whoever is trusted by nobody, with the right name.
        untrusted = replace(found, url=Secret(found.url.reveal().partition("?")[0]))
        link = RedisLink(untrusted)
        assert refused(ConfigError, lambda: link.ask([("PING",)], Cancel(30))).info.code == "certificate"
        link.close()
