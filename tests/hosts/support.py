"""What the tests of hosts share: a real sshd on a loopback port, with keys, home and configuration of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from opsctl.hosts.agent import Settings
from opsctl.hosts.connection import Answers
from opsctl.hosts.ssh import SSHHost
from opsctl.model.ports import GuardSpec
from opsctl.model.stack import Droplet

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def eventually(true: Callable[[], object], *, within: float = 20.0) -> bool:
    """Whether something becomes true, looked at every 50 ms."""
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def keygen(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)], check=True)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Sshd:
    """One sshd; `wrap` is put before its command line."""

    def __init__(self, folder: Path, *, options: str = "", wrap: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.home = folder / "home"
        self.home.mkdir()
        self.host_key = keygen(folder / "host_ed25519")
        keygen(folder / "host_rsa", kind="rsa")
        self.key = keygen(folder / "key")
        self.authorized = folder / "authorized_keys"
        self.authorized.write_text((folder / "key.pub").read_text())
        self._options = options
        self._wrap = wrap
        self.start()

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_ed25519\n"
            f"HostKey {self.folder}/host_rsa\nAuthorizedKeysFile {self.authorized}\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nPidFile none\nSetEnv HOME={self.home}\n{self._options}\n"
        )
        with (self.folder / "log").open("ab") as log:
            argv = [*self._wrap, SSHD, "-D", "-e", "-f", str(config)]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        assert eventually(self._answers), (self.folder / "log").read_text()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self) -> None:
        self.cut()
        self.process.terminate()
        self.process.wait(5)

    def sessions(self) -> list[int]:
        """The process that serves each connection."""
        done = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def cut(self) -> None:
        """Cut every connection, as a broken network would be noticed."""
        for pid in self.sessions():
            subprocess.run(["kill", "-9", str(pid)], check=False)

    def known_hosts(self, kind: str = "ed25519") -> Path:
        path = self.folder / f"known_{kind}"
        words = (self.folder / f"host_{kind}.pub").read_text().split()
        path.write_text(f"[127.0.0.1]:{self.port} {words[0]} {words[1]}\n")
        return path

    def droplet(self, **changes: str | None) -> Droplet:
        values = {"key": str(self.key), "known_hosts": str(self.known_hosts()), **changes}
        return Droplet("box", f"{getpass.getuser()}@127.0.0.1:{self.port}", **values)  # type: ignore[arg-type]


def ssh_host(droplet: Droplet, state: Path, *, answers: Answers | None = None, **settings: float) -> SSHHost:
    return SSHHost(Settings(droplet.name, **settings), droplet, answers or Answers(), state_dir=str(state))  # type: ignore[arg-type]


def spec(scope: str = "stack", run_id: str = "r1") -> GuardSpec:
    return GuardSpec(scope, run_id, {"user": "ada", "from": "laptop", "command": "opsctl startup"})
