"""Whether anybody speaks SSH at a droplet's address: cheap enough to ask several times a second while it boots."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from selectors import EVENT_READ, BaseSelector, DefaultSelector

from opsctl.hosts.connection import listen
from opsctl.hosts.ssh_config import Address, Target, resolve
from opsctl.hosts.vendor import load_paramiko
from opsctl.model.cancel import Cancel
from opsctl.model.stack import Droplet

_SLICE = 0.1
_ANOTHER = 0.25  # s until another connection is begun beside those that are still waited for


class Knocker:
    """Asks one droplet's sshd for its banner."""

    def __init__(self, droplet: Droplet) -> None:
        self._droplet = droplet
        self._target: Target | None = None

    def __call__(self, cancel: Cancel) -> bool:
        """Whether a banner came before the token was done; True too where only a login can tell (jump hosts)."""
        target = self._direct()
        return target is None or _banner(target.host, target.port, cancel)

    def listen(self, cancel: Cancel) -> None:
        """Ask as often as a login would. Raises UnreachableError where nobody speaks SSH."""
        if (target := self._direct()) is not None:
            listen(target, cancel)

    def prepare(self) -> None:
        """Load what a login takes, while there is nobody to log in to."""
        load_paramiko()

    def _direct(self) -> Target | None:
        """Where its sshd can be asked without a login."""
        if self._droplet.address == "local":
            return None
        if self._target is None:
            self._target = resolve(Address.parse(self._droplet.address), self._droplet)
        return None if self._target.proxy_jump or self._target.proxy_command else self._target


def _banner(host: str, port: int, cancel: Cancel) -> bool:
    """Whether one of a few connections, begun one after the other, is greeted by an sshd.

    A machine that boots drops the first packets, and the kernel sends one again after a second only.
    """
    left = cancel.remaining
    end = time.monotonic() + (1.5 if left is None else left)
    with ExitStack() as links, DefaultSelector() as waiting:
        begin = 0.0
        while (now := time.monotonic()) < end and not cancel.cancelled:
            if now >= begin:
                begin = now + _ANOTHER
                _begin(host, port, links, waiting)
            if not waiting.get_map():
                return False  # it was refused at once
            for key, _ in waiting.select(_SLICE):
                link = key.fileobj
                assert isinstance(link, socket.socket)
                try:
                    said = link.recv(4)
                except OSError:
                    said = b""
                if said.startswith(b"SSH"):
                    return True
                waiting.unregister(link)
    return False


def _begin(host: str, port: int, links: ExitStack, waiting: BaseSelector) -> None:
    with suppress(OSError):
        for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with suppress(OSError):  # a family that is not there
                link = links.enter_context(socket.socket(family, kind, protocol))
                link.setblocking(False)
                link.connect_ex(where)
                waiting.register(link, EVENT_READ)  # readable: it speaks, or it has been refused
