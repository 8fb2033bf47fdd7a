"""This machine as a host: the same agent, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager

from opsctl.hosts.agent import Pipe, Settings
from opsctl.hosts.base import STATE_DIR, AgentHost
from opsctl.hosts.failures import not_started
from opsctl.hosts.forward import dial, listening
from opsctl.hosts.interactive import attach
from opsctl.model.cancel import Cancel
from opsctl.model.ports import Endpoint


class ProcessPipe:
    """The pipes of a child process; see agent.Pipe."""

    def __init__(self, argv: list[str]) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        # A session of its own: Ctrl-C in the terminal is for us, and we tell the agent.
        self._child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0, start_new_session=True
        )
        assert self._child.stdin is not None and self._child.stdout is not None
        self._in, self._out = self._child.stdin, self._child.stdout

    def send(self, data: bytes) -> None:
        """As Pipe.send."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._in.fileno(), rest) :]

    def recv(self) -> bytes:
        """As Pipe.recv."""
        return os.read(self._out.fileno(), 1 << 16)

    def close(self) -> None:
        """As Pipe.close: the agent sees the end of its input, kills what it runs, and ends."""
        if not self._in.closed:
            self._in.close()

    def kill(self) -> None:
        """As Pipe.kill."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
        self._stderr.close()

    def last_words(self) -> tuple[int | None, str]:
        """As Pipe.last_words."""
        try:
            status = self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            return None, ""
        self._stderr.seek(0)
        return status, self._stderr.read()[-500:].decode(errors="replace").strip()


class LocalHost(AgentHost):
    """The machine that opsctl itself runs on."""

    def __init__(self, settings: Settings, *, state_dir: str = STATE_DIR) -> None:
        super().__init__(settings, "local", state_dir=state_dir)

    def forward(
        self, target_host: str, target_port: int, *, local_port: int | None = None
    ) -> AbstractContextManager[Endpoint]:
        """As Host.forward; the target itself, where no port of one's own is asked for."""
        if local_port is None:
            return contextlib.nullcontext(Endpoint(target_host, target_port))
        return listening(lambda: dial(target_host, target_port), local_port)

    def interactive(self, argv: Sequence[str], *, tty: bool, cancel: Cancel) -> int:
        """As Host.interactive; the child shares this process's terminal."""
        words = ["sudo", "-n", "--", *argv] if self.privilege(cancel=cancel).sudo else list(argv)
        return attach(words, cancel)

    def _open(self, argv: list[str], cancel: Cancel) -> Pipe:
        if shutil.which(argv[0]) is None:
            raise not_started(self.name, 127, "")
        return ProcessPipe(argv)
