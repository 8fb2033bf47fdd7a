"""The way to a host: its configuration, jump hosts, proxy commands, and everything that can be in the way."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hosts.support import Sshd, eventually, free_port, ssh_host

from opsctl.hosts.base import AgentHost
from opsctl.hosts.ssh_config import Address, resolve
from opsctl.model.cancel import Cancel
from opsctl.model.errors import (
    ConfigError,
    ConnectionLost,
    ExitCode,
    Interrupted,
    OpsError,
    StepFailed,
    UnreachableError,
)
from opsctl.model.ports import Script
from opsctl.model.stack import Droplet

ME = getpass.getuser()


def hello(droplet: Droplet, state: Path) -> str:
    host = ssh_host(droplet, state)
    try:
        return host.run(Script("echo hello"), cancel=Cancel(60), timeout=30).text
    finally:
        host.close()


def failure(droplet: Droplet, state: Path, cancel: Cancel | None = None) -> OpsError:
    host = ssh_host(droplet, state)
    try:
        with pytest.raises(OpsError) as caught:
            host.run(Script("echo hello"), cancel=cancel or Cancel(60), timeout=30)
        return caught.value
    finally:
        host.close()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def write(text: str) -> None:
        path = tmp_path / "own_config"
        path.write_text(text)
        monkeypatch.setenv("OPSCTL_SSH_CONFIG", str(path))

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root@203.0.113.7", Address("203.0.113.7", "root")),
        ("203.0.113.7:2222", Address("203.0.113.7", None, 2222)),
        ("ada@agents:22", Address("agents", "ada", 22)),
        ("ada@[2001:db8::7]:2222", Address("2001:db8::7", "ada", 2222)),
        ("[2001:db8::7]", Address("2001:db8::7")),
        ("ssh://ada@agents:2222/", Address("agents", "ada", 2222)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert Address.parse(text) == expected


@pytest.mark.parametrize("text", ["", "a b", "root@", "host:port", "2001:db8::7", "a@b@c"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError):
        Address.parse(text)


def test_the_configuration_is_read_as_openssh_reads_it(sshd: Sshd, state: Path, config: Callable[[str], None]) -> None:
    config(
        f"Match originalhost agents exec true\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {ME}\n"
        f"  IdentityFile {sshd.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {sshd.known_hosts()}\n"
    )
    assert hello(Droplet("box", "agents"), state) == "hello\n"


def test_what_the_stack_says_wins(config: Callable[[str], None]) -> None:
    config("Host agents\n  User bob\n  Port 1\n  IdentityFile /bob\n  ConnectTimeout 3\n  UserKnownHostsFile /k1 /k2\n")
    plain = resolve(Address.parse("agents"))
    assert (plain.user, plain.port, plain.timeout, plain.known_hosts[:2]) == ("bob", 1, 3, ("/k1", "/k2"))
    droplet = Droplet("box", "ada@agents:2", key="~/ada", known_hosts="/k3")
    found = resolve(Address.parse(droplet.address), droplet)
    assert (found.user, found.port, found.known_hosts, found.identities_only) == ("ada", 2, ("/k3",), True)
    assert found.identity_files == (str(Path.home() / "ada"),)


def test_a_broken_configuration_is_an_error_of_configuration(state: Path, config: Callable[[str], None]) -> None:
    config("Nonsense yes\n")
    error = failure(Droplet("box", "agents"), state)
    assert error.exit_code is ExitCode.CONFIG and "Bad configuration option" in error.info.why
    assert error.info.line == 1 and str(error.info.path).endswith("own_config")


def test_without_openssh_paramikos_reader_does(
    sshd: Sshd, state: Path, config: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config(
        f"Host agents\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {ME}\n  IdentityFile {sshd.key}\n"
        f"  UserKnownHostsFile {sshd.known_hosts()}\n"
    )
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "ssh" else which(name))
    assert hello(Droplet("box", "agents"), state) == "hello\n"


def hop(server: Sshd, name: str, more: str = "") -> str:
    return (
        f"Host {name}\n  HostName 127.0.0.1\n  Port {server.port}\n  User {ME}\n  IdentityFile {server.key}\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {server.known_hosts()}\n{more}"
    )


def test_through_two_jump_hosts(
    make_sshd: Callable[..., Sshd], sshd: Sshd, state: Path, config: Callable[[str], None]
) -> None:
    first, second = make_sshd(), make_sshd()
    config(hop(first, "first") + hop(second, "second") + hop(sshd, "agents", "  ProxyJump first,second\n"))
    host = ssh_host(Droplet("box", "agents"), state)
    assert host.run(Script("echo hello"), cancel=Cancel(60), timeout=30).text == "hello\n"
    assert len(first.sessions()) == len(second.sessions()) == 1
    host.close()
    assert eventually(lambda: not first.sessions() and not second.sessions())


def test_a_jump_hosts_own_way_is_taken_too(
    make_sshd: Callable[..., Sshd], sshd: Sshd, state: Path, config: Callable[[str], None]
) -> None:
    first, second = make_sshd(), make_sshd()
    config(
        hop(first, "first") + hop(second, "second", "  ProxyJump first\n") + hop(sshd, "agents", "  ProxyJump second\n")
    )
    assert hello(Droplet("box", "agents"), state) == "hello\n"
    assert "Accepted" in (first.folder / "log").read_text()


def test_a_jump_host_that_cannot_reach_the_target(
    make_sshd: Callable[..., Sshd], state: Path, config: Callable[[str], None]
) -> None:
    config(hop(make_sshd(), "first") + f"Host agents\n  HostName 127.0.0.1\n  Port {free_port()}\n  ProxyJump first\n")
    error = failure(Droplet("box", "agents"), state)
    assert error.info.code == "jump-failed" and "through" in error.info.what


def test_jumps_in_a_circle(state: Path, config: Callable[[str], None]) -> None:
    config("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    assert failure(Droplet("box", "a"), state).exit_code is ExitCode.CONFIG


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client here")
def test_through_a_proxy_command(
    make_sshd: Callable[..., Sshd], sshd: Sshd, state: Path, tmp_path: Path, config: Callable[[str], None]
) -> None:
    first = make_sshd()
    (tmp_path / "first").write_text(hop(first, "first"))
    config(hop(sshd, "agents", f"  ProxyCommand ssh -F {tmp_path}/first -W %h:%p first\n"))
    assert hello(Droplet("box", "agents"), state) == "hello\n"
    assert eventually(lambda: not first.sessions())


def test_a_proxy_command_that_fails_is_no_wait(sshd: Sshd, state: Path, config: Callable[[str], None]) -> None:
    config(hop(sshd, "agents", "  ProxyCommand false\n"))
    assert failure(Droplet("box", "agents"), state).info.code == "no-banner"


def test_a_refused_connection(state: Path) -> None:
    error = failure(Droplet("box", f"127.0.0.1:{free_port()}"), state)
    assert isinstance(error, UnreachableError) and error.info.code == "refused" and "ssh -v" in error.info.next
    own = failure(Droplet("box", f"127.0.0.1:{free_port()}", key="/k/id", known_hosts="/k/known"), state)
    assert "-i /k/id -o IdentitiesOnly=yes -o UserKnownHostsFile=/k/known" in own.info.next


def test_an_unknown_name(state: Path) -> None:
    assert failure(Droplet("box", "no-such-host.invalid"), state).info.code == "dns"


def test_something_that_answers_and_says_nothing(state: Path, config: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config("ConnectTimeout 1\n")
        error = failure(Droplet("box", f"127.0.0.1:{silent.getsockname()[1]}"), state)
    assert error.info.code == "no-banner" and "opsctl recover" in error.info.next


def test_something_else_than_ssh(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            for _ in range(3):
                link, _peer = other.accept()
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                link.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert failure(Droplet("box", f"127.0.0.1:{other.getsockname()[1]}"), state).info.code == "no-banner"
        thread.join()


def test_a_busy_sshd_is_asked_again(sshd: Sshd, state: Path) -> None:
    """The first connection is dropped before a word, as MaxStartups does; the second one is let through."""
    with socket.create_server(("127.0.0.1", 0)) as front:
        threads: list[threading.Thread] = []

        def relay() -> None:
            front.accept()[0].close()
            near, _ = front.accept()
            far = socket.create_connection(("127.0.0.1", sshd.port))
            for source, sink in ((near, far), (far, near)):
                threads.append(threading.Thread(target=copy, args=(source, sink)))
                threads[-1].start()

        def copy(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(1 << 16):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=relay)
        thread.start()
        port = front.getsockname()[1]
        known = state.with_name("known")
        known.write_text(sshd.known_hosts().read_text().replace(str(sshd.port), str(port)))
        droplet = Droplet("box", f"{ME}@127.0.0.1:{port}", key=str(sshd.key), known_hosts=str(known))
        assert hello(droplet, state) == "hello\n"
        for each in (thread, *threads):
            each.join(10)


def test_ctrl_c_while_connecting(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cancel = Cancel()
        threading.Timer(0.3, cancel.cancel).start()
        assert isinstance(failure(Droplet("box", f"127.0.0.1:{silent.getsockname()[1]}"), state, cancel), Interrupted)


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A port that lets nobody in: the kernel drops what comes when the queue of a listener is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for link in waiting:
        link.setblocking(False)
        link.connect_ex(listener.getsockname())
    return listener, [listener, *waiting]


def test_no_answer_at_all(state: Path, config: Callable[[str], None]) -> None:
    listener, links = full_backlog()
    config("ConnectTimeout 1\n")
    error = failure(Droplet("box", f"127.0.0.1:{listener.getsockname()[1]}"), state)
    assert error.info.code == "timeout" and "1 s" in error.info.why
    for link in links:
        link.close()


def test_ctrl_c_while_nobody_answers_leaves_no_thread(state: Path) -> None:
    listener, links = full_backlog()
    cancel = Cancel()
    threading.Timer(0.3, cancel.cancel).start()
    error = failure(Droplet("box", f"127.0.0.1:{listener.getsockname()[1]}"), state, cancel)
    assert isinstance(error, Interrupted)
    assert not [thread for thread in threading.enumerate() if thread.name == "connect"]
    for link in links:
        link.close()


def test_noise_of_start_up_files_is_skipped(make_sshd: Callable[..., Sshd], state: Path) -> None:
    server = make_sshd()
    (server.home / ".bashrc").write_text(
        "echo welcome; echo to >&2; printf 'the host: '; sleep 0.5; set -o noclobber\n"
    )
    assert hello(server.droplet(), state) == "hello\n"


def test_a_host_without_bash(make_sshd: Callable[..., Sshd], state: Path, tmp_path: Path) -> None:
    server = make_sshd(options=f'ForceCommand PATH={tmp_path} /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
    error = failure(server.droplet(), state)
    assert error.info.code == "no-bash" and "bash" in error.info.next


def test_an_account_that_is_closed(make_sshd: Callable[..., Sshd], state: Path) -> None:
    server = make_sshd(options="ForceCommand echo 'This account is currently not available.' >&2; exit 1")
    error = failure(server.droplet(), state)
    assert error.info.code == "no-shell" and "not available" in error.info.why


def test_a_host_that_refuses_sessions(make_sshd: Callable[..., Sshd], state: Path) -> None:
    assert isinstance(failure(make_sshd(options="MaxSessions 0").droplet(), state), UnreachableError)


def test_a_cut_connection_is_made_again_for_the_next_script(make_sshd: Callable[..., Sshd], state: Path) -> None:
    server, cancel = make_sshd(), Cancel(60)
    host = ssh_host(server.droplet(), state)
    host.run(Script("true"), cancel=cancel, timeout=20)
    threading.Timer(0.3, server.cut).start()
    with pytest.raises(ConnectionLost) as caught:
        host.run(Script("sleep 30"), cancel=cancel, timeout=40)
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert host.run(Script("echo again"), cancel=cancel, timeout=20).text == "again\n"
    host.close()


def test_reading_is_tried_once_more(make_sshd: Callable[..., Sshd], state: Path, tmp_path: Path) -> None:
    from opsctl.hosts import reading

    server, cancel, runs = make_sshd(), Cancel(60), tmp_path / "runs"
    host = ssh_host(server.droplet(), state)
    script = Script('echo x >>"$1"; [ $(wc -l <"$1") = 2 ] || sleep 30; echo done', (str(runs),))
    watcher = threading.Thread(target=lambda: eventually(runs.exists) and server.cut())
    watcher.start()
    assert reading(host).run(script, cancel=cancel, timeout=40).text == "done\n"
    watcher.join()
    host.close()


def test_one_connection_for_everything(make_sshd: Callable[..., Sshd], state: Path) -> None:
    server, cancel = make_sshd(), Cancel(60)
    host: AgentHost = ssh_host(server.droplet(), state)
    for _ in range(3):
        host.run(Script("true"), cancel=cancel, timeout=20)
    list(host.stream(Script("echo x"), cancel=cancel, timeout=20))
    log = (server.folder / "log").read_text()
    assert log.count("Accepted publickey") == 1
    host.close()
    assert eventually(lambda: not server.sessions())


def test_a_network_that_goes_silent_is_noticed(make_sshd: Callable[..., Sshd], state: Path) -> None:
    server, cancel = make_sshd(), Cancel(60)
    host = ssh_host(server.droplet(), state, silence=2, heartbeat=0.5)
    host.run(Script("true"), cancel=cancel, timeout=20)
    (session,) = server.sessions()
    os.kill(session, signal.SIGSTOP)
    with pytest.raises(ConnectionLost) as caught:
        host.run(Script("true"), cancel=cancel, timeout=40)
    assert "nothing heard for 2 s" in caught.value.info.why
    host.close()
    os.kill(session, signal.SIGCONT)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a /dev/shm of one megabyte")
def test_more_output_than_the_host_can_hold(make_sshd: Callable[..., Sshd], state: Path) -> None:
    small = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    try:
        server = make_sshd(wrap=("unshare", "-m", "--propagation", "private", "bash", "-c", small, "-"))
    except AssertionError:
        pytest.skip("no mount namespaces here")
    host, cancel = ssh_host(server.droplet(), state), Cancel(60)
    for size in (900_000, 3_000_000):
        with pytest.raises(StepFailed) as caught:
            host.run(Script('head -c "$1" /dev/zero', (str(size),)), cancel=cancel, timeout=30)
        assert caught.value.info.code == "output-too-large"
    assert host.run(Script("echo on"), cancel=cancel, timeout=20).text == "on\n"
    lines = host.stream(Script('head -c "$1" /dev/zero | tr "\\0" "\\n"', ("3000000",)), cancel=cancel, timeout=60)
    assert sum(1 for _ in lines) == 3_000_000
    host.close()
