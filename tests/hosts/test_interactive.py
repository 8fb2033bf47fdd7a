"""Commands that have the terminal: bytes, sizes and status go through, and the terminal is itself again afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.hosts.support import Sshd
from tests.hosts.test_shell import mark, running

ROOT = Path(__file__).parents[2]
Start = Callable[..., "Typist"]


def _at_a_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Typist:
    """A process of ours on a terminal that the test reads and types at."""

    def __init__(self, program: str, *, terminal: bool) -> None:
        self.near, far = pty.openpty() if terminal else (-1, -1)
        if terminal:
            self.resize(24, 80)
        ends = (
            {"stdin": far, "stdout": far, "stderr": far}
            if terminal
            else dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=_at_a_terminal if terminal else None,
            **ends,  # type: ignore[arg-type]
        )
        self.far = far
        self.seen = b""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.near, text.encode())

    def expect(self, text: str, *, within: float = 30) -> None:
        end = time.monotonic() + within
        while text.encode() not in self.seen:
            assert time.monotonic() < end, f"{text!r} is not in {self.seen!r}"
            if select.select([self.near], [], [], 0.2)[0]:
                self.seen += os.read(self.near, 4096)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.near, self.far):
            if end >= 0:
                os.close(end)


@pytest.fixture(params=["local", "ssh"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    started: list[Typist] = []
    droplet = None
    if request.param == "ssh":
        server: Sshd = request.getfixturevalue("sshd")
        droplet = server.droplet()

    def start(script: str, *, terminal: bool) -> Typist:
        where = (
            f"Droplet('box', {droplet.address!r}, key={droplet.key!r}, known_hosts={droplet.known_hosts!r})"
            if droplet
            else "Droplet('box', 'local')"
        )
        program = f"""
            import signal, sys
            from opsctl.hosts import connect
            from opsctl.model.cancel import Cancel
            from opsctl.model.stack import Droplet
            cancel = Cancel()
            signal.signal(signal.SIGTERM, lambda *_: cancel.cancel(15))
            host = connect({where}, state_dir={str(tmp_path)!r})
            try:
                code = host.interactive(["bash", "-c", {script!r}], tty={terminal}, cancel=cancel)
            finally:
                host.close()
            print("status", code, flush=True)
        """
        started.append(Typist(program, terminal=terminal))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_terminal(start: Start) -> None:
    typist = start('test -t 0 && test -t 1 && read -p "name? " n && echo "hi $n" && stty size && exit 3', terminal=True)
    before = termios.tcgetattr(typist.far)
    typist.expect("name? ")
    typist.type("ada\r")
    typist.expect("hi ada")
    typist.expect("24 80")
    typist.expect("status 3")
    assert typist.process.wait(20) == 0
    assert termios.tcgetattr(typist.far) == before


def test_a_new_size_of_the_window_arrives(start: Start) -> None:
    typist = start('echo ready; while [ "$(stty size)" != "40 120" ]; do sleep 0.1; done; echo wider', terminal=True)
    typist.expect("ready")
    typist.resize(40, 120)
    typist.expect("wider")
    typist.expect("status 0")


def test_ctrl_c_is_typed_at_the_command(start: Start) -> None:
    typist = start('trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done', terminal=True)
    typist.expect("ready")
    typist.type("\x03")
    typist.expect("caught")


def test_without_a_terminal_bytes_pass_unchanged(start: Start) -> None:
    typist = start("cat; echo err >&2; exit 4", terminal=False)
    data = bytes(range(256)) * 2000
    out, _ = typist.process.communicate(data, timeout=60)
    assert out == data + b"status 4\n"


def test_a_signal_ends_it_and_mends_the_terminal(start: Start) -> None:
    sleep = mark()
    typist = start(f"echo ready; exec {sleep}", terminal=True)
    before = termios.tcgetattr(typist.far)
    typist.expect("ready")
    typist.process.terminate()
    typist.expect("Interrupted")
    assert typist.process.wait(20) == 1
    assert termios.tcgetattr(typist.far)[3] == before[3]
    end = time.monotonic() + 20
    while running(sleep):
        assert time.monotonic() < end
        time.sleep(0.05)
