"""Users who are not root: the engine's socket, sudo without a password, and neither.

sshd runs in a mount namespace of its own, where /etc/passwd knows one user more and sudo has rules of ours:
nothing on this machine is changed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from tests.hosts.support import Sshd, spec

from opsctl.hosts.agent import Settings
from opsctl.hosts.connection import Answers
from opsctl.hosts.ssh import SSHHost
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, StepFailed, UnreachableError
from opsctl.model.ports import Script

UID = 54321
IN_NAMESPACE = """
set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
mount --bind "$1/sudoers" /etc/sudoers
[ ! -S /run/docker.sock ] || mount --bind /dev/null /run/docker.sock
shift
exec "$@"
"""


def namespaces_work() -> bool:
    return (
        os.geteuid() == 0
        and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    )


pytestmark = [
    pytest.mark.skipif(not namespaces_work(), reason="needs root and a mount namespace to have a user for the test"),
    pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed"),
]

Reach = Callable[..., SSHHost]


@pytest.fixture
def reach(_sshd_there: None, state: Path) -> Iterator[Reach]:
    """A host where `ada` logs in; `rules` are sudo's, `socket_mode` None is a host without an engine."""
    hosts: list[SSHHost] = []
    servers: list[Sshd] = []
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are for its user only
    folder.chmod(0o755)
    engine = socket.socket(socket.AF_UNIX)

    def make(*, rules: str, socket_mode: int | None, sudo: Literal["auto", "always", "never"] = "auto") -> SSHHost:
        etc = folder / "etc"
        etc.mkdir()
        ada = f"ada:x:{UID}:{UID}::/:/bin/bash\n"
        (etc / "passwd").write_text(Path("/etc/passwd").read_text() + ada)
        (etc / "shadow").write_text(Path("/etc/shadow").read_text() + "ada:*:19000:0:99999:7:::\n")
        (etc / "sudoers").write_text(f"Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n{rules}\n")
        (etc / "sudoers").chmod(0o440)
        wrap = ("unshare", "-m", "--propagation", "private", "bash", "-c", IN_NAMESPACE, "-", str(etc))
        server = Sshd(folder / "sshd", wrap=wrap)
        servers.append(server)
        path = folder / "engine.sock"
        if socket_mode is not None:
            engine.bind(str(path))
            path.chmod(socket_mode)
        droplet = replace(server.droplet(), address=f"ada@127.0.0.1:{server.port}")
        settings = Settings("box", sudo=sudo, socket=str(path))
        hosts.append(SSHHost(settings, droplet, Answers(), state_dir=str(state)))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
    for server in servers:
        server.stop()
    engine.close()
    shutil.rmtree(folder)


def whoami(host: SSHHost) -> str:
    return host.run(Script("id -u"), cancel=Cancel(60), timeout=30).text.strip()


NOPASSWD = "ada ALL=(ALL) NOPASSWD: ALL"


def test_a_socket_that_may_be_used_needs_no_sudo(reach: Reach, cancel: Cancel) -> None:
    host = reach(rules=NOPASSWD, socket_mode=0o666)
    privilege = host.privilege(cancel=cancel)
    assert (privilege.user, privilege.uid, privilege.sudo) == ("ada", UID, False)
    assert whoami(host) == str(UID)


def test_sudo_is_used_for_the_whole_agent(reach: Reach, cancel: Cancel) -> None:
    host = reach(rules=NOPASSWD, socket_mode=0o600)
    privilege = host.privilege(cancel=cancel)
    assert (privilege.user, privilege.uid, privilege.sudo) == ("ada", UID, True)
    assert whoami(host) == "0"
    data = os.urandom(200_000)
    assert host.run(Script("cat", stdin=data), cancel=cancel, timeout=30).stdout == data
    guard = host.guard(spec(), cancel=cancel)
    assert guard.run(Script("id -u"), cancel=cancel, timeout=20).text == "0\n"
    guard.release()


def test_sudo_with_a_terminal_of_its_own(reach: Reach, cancel: Cancel) -> None:
    host = reach(rules=f"Defaults use_pty\n{NOPASSWD}", socket_mode=0o600)
    data = bytes(range(256)) * 100
    assert host.run(Script("cat; id -u", stdin=data), cancel=cancel, timeout=30).stdout == data + b"0\n"


def test_neither_group_nor_sudo(reach: Reach, cancel: Cancel) -> None:
    host = reach(rules="", socket_mode=0o600)
    with pytest.raises(UnreachableError) as caught:
        host.privilege(cancel=cancel)
    info = caught.value.info
    assert caught.value.exit_code is ExitCode.UNREACHABLE and info.code == "docker-permission"
    assert "ada" in info.what and "usermod -aG docker ada" in info.next


def test_never_means_never(reach: Reach) -> None:
    assert whoami(reach(rules=NOPASSWD, socket_mode=0o600, sudo="never")) == str(UID)


def test_always_means_always(reach: Reach) -> None:
    assert whoami(reach(rules=NOPASSWD, socket_mode=0o666, sudo="always")) == "0"


def test_always_with_a_password_is_refused(reach: Reach, cancel: Cancel) -> None:
    host = reach(rules="ada ALL=(ALL) ALL", socket_mode=0o666, sudo="always")
    with pytest.raises(UnreachableError) as caught:
        host.run(Script("id -u"), cancel=cancel, timeout=30)
    assert caught.value.info.code == "sudo-refused", caught.value.info
    assert "NOPASSWD" in caught.value.info.next


def test_a_host_without_an_engine_lets_us_in_all_the_same(reach: Reach, cancel: Cancel) -> None:
    host = reach(rules="", socket_mode=None)
    assert not host.privilege(cancel=cancel).sudo and whoami(host) == str(UID)


def test_a_state_folder_that_is_roots_says_how_to_share_it(reach: Reach, cancel: Cancel, state: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        reach(rules="", socket_mode=0o666).guard(spec(), cancel=cancel)
    assert caught.value.info.code == "state-folder" and "ada" in caught.value.info.why
