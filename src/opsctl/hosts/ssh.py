"""A host over SSH: one connection, on it the agent's channels, forwarded ports and terminals."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from opsctl.hosts.agent import Pipe, Settings
from opsctl.hosts.base import STATE_DIR, AgentHost
from opsctl.hosts.connection import Answers, dial, hang_up, patiently
from opsctl.hosts.failures import lost
from opsctl.hosts.forward import Stream, listening, refused
from opsctl.hosts.interactive import attach_channel
from opsctl.hosts.ssh_config import Address, resolve
from opsctl.hosts.vendor import execute, load_paramiko
from opsctl.model.cancel import Cancel
from opsctl.model.ports import Endpoint
from opsctl.model.stack import Droplet

if TYPE_CHECKING:
    from paramiko import Channel, Transport

_CHANNEL_BOUND = 10.0


class ChannelPipe:
    """An SSH channel as agent.Pipe."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def send(self, data: bytes) -> None:
        """As Pipe.send."""
        self._channel.sendall(data)

    def recv(self) -> bytes:
        """As Pipe.recv."""
        return self._channel.recv(1 << 16)

    def close(self) -> None:
        """As Pipe.close."""
        self._channel.close()

    def kill(self) -> None:
        """As Pipe.kill: at the other end the agent sees the end of its input, which ends all it runs."""
        self._channel.close()

    def last_words(self) -> tuple[int | None, str]:
        """As Pipe.last_words."""
        # The status follows the end of the output; -1 stands for a channel that closed without one.
        self._channel.status_event.wait(2.0)
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        words = b""
        while self._channel.recv_stderr_ready():
            words += self._channel.recv_stderr(1 << 15)
        return status if status >= 0 else None, words[-500:].decode(errors="replace").strip()


class SSHHost(AgentHost):
    """A droplet reached with SSH. Nothing is connected before the first use."""

    def __init__(
        self,
        settings: Settings,
        droplet: Droplet,
        answers: Answers,
        *,
        patience: float = 0.0,
        state_dir: str = STATE_DIR,
    ) -> None:
        super().__init__(settings, droplet.address, state_dir=state_dir)
        self._droplet = droplet
        self._parsed = Address.parse(droplet.address)
        self._answers = answers
        self._patience = patience
        self._way: list[Transport] = []
        self._dialling = threading.Lock()

    def forward(
        self, target_host: str, target_port: int, *, local_port: int | None = None
    ) -> AbstractContextManager[Endpoint]:
        """As Host.forward; each connection is a channel, which sshd's limit on sessions doesn't count."""

        return listening(lambda: self._direct(target_host, target_port), local_port)

    def interactive(self, argv: Sequence[str], *, tty: bool, cancel: Cancel) -> int:
        """As Host.interactive."""
        words = ["sudo", "-n", "--", *argv] if self.privilege(cancel=cancel).sudo else list(argv)
        channel = self._channel(cancel)
        try:
            return attach_channel(channel, shlex.join(words), tty=tty, cancel=cancel)
        finally:
            channel.close()

    def close(self) -> None:
        """As Host.close."""
        super().close()
        hang_up(self._way)

    def _direct(self, target_host: str, target_port: int) -> Stream:
        transport = self._connected(Cancel(_CHANNEL_BOUND))
        from paramiko import SSHException

        where = (target_host, target_port)
        try:
            return transport.open_channel("direct-tcpip", where, ("127.0.0.1", 0), timeout=_CHANNEL_BOUND)
        except (SSHException, EOFError, OSError) as error:
            raise refused(self.name, f"{target_host} port {target_port}", str(error)) from error

    def _open(self, argv: list[str], cancel: Cancel) -> Pipe:
        channel = self._channel(cancel)
        execute(channel, f"exec {shlex.join(argv)}")
        return ChannelPipe(channel)

    def _channel(self, cancel: Cancel) -> Channel:
        transport = self._connected(cancel)
        from paramiko import SSHException

        bound = cancel.child(_CHANNEL_BOUND)
        try:
            channel: Channel = patiently(lambda: transport.open_session(timeout=_CHANNEL_BOUND), bound)
        except (SSHException, EOFError, OSError) as error:
            raise lost(self.name, str(error) or "the host refused another session") from error
        return channel

    def _connected(self, cancel: Cancel) -> Transport:
        while not self._dialling.acquire(timeout=0.1):
            cancel.check("the connection")
        try:
            if not self._way or not self._way[-1].is_active():
                hang_up(self._way)
                # Importing paramiko takes as long as all the rest: OpenSSH and the network are asked meanwhile.
                threading.Thread(target=load_paramiko, name="import").start()
                target = resolve(self._parsed, self._droplet)
                target = replace(target, timeout=max(target.timeout, self._patience))
                self._way = dial(target, self._answers, cancel)
            return self._way[-1]
        finally:
            self._dialling.release()
