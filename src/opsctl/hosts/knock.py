"""Whether anybody speaks SSH at a droplet's address: cheap enough to ask several times a second while it boots."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, DefaultSelector, SelectorKey

from opsctl.hosts.connection import listen
from opsctl.hosts.ssh_config import Address, Target, resolve
from opsctl.hosts.vendor import load_paramiko
from opsctl.model.cancel import Cancel
from opsctl.model.stack import Droplet

_SLICE = 0.1
_ANOTHER = 0.25  # s until another connection is begun beside those that nobody took yet
_RARELY = 2.0  # s at most between two of them where some were taken
_UNTAKEN = 1.5  # s after which one that nobody took is given up


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

    A machine that boots drops the first packets, and the kernel sends one again after a second only: what is not
    connected by then is begun anew. Who took a connection may need long for its first word, because each one is a
    process to a machine that is busy as it is, and OpenSSH (from 9.8 on) turns away who begins many and logs in on
    none: that one is kept, and others are begun more and more rarely.
    """
    left = cancel.remaining
    end = time.monotonic() + (_UNTAKEN if left is None else left)
    with ExitStack() as links, DefaultSelector() as waiting:
        begin = 0.0
        taken = 0  # connections that somebody took and has not said a word on
        turned_away = 0
        while (now := time.monotonic()) < end and not cancel.cancelled:
            if now >= begin:
                _begin(host, port, links, waiting, now)
                begin = now + min(_ANOTHER * 2 ** (taken + turned_away), _RARELY)
            if not waiting.get_map():
                if not turned_away:
                    return False  # it was refused at once
                cancel.wait(min(begin, end) - now)
            for key, _ in waiting.select(_SLICE) if waiting.get_map() else ():
                said = _word(key, waiting)
                if said.startswith(b"SSH"):
                    return True
                if said:
                    turned_away += 1
                    begin = now + _RARELY
            taken = _taken(waiting, now)
    return False


def _word(key: SelectorKey, waiting: BaseSelector) -> bytes:
    """What is said first on this connection, on which something happened; b"" where it was only taken, or ended."""
    link = key.fileobj
    assert isinstance(link, socket.socket)
    if key.events & EVENT_WRITE and not link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        waiting.modify(link, EVENT_READ, key.data)
        return b""
    try:
        said = link.recv(4)
    except OSError:
        said = b""
    waiting.unregister(link)
    link.close()
    return said


def _taken(waiting: BaseSelector, now: float) -> int:
    """How many were taken; those that nobody took for too long are given up."""
    keys = list(waiting.get_map().values())
    for key in keys:
        if key.events & EVENT_WRITE and now - key.data > _UNTAKEN and isinstance(key.fileobj, socket.socket):
            waiting.unregister(key.fileobj)
            key.fileobj.close()
    return sum(1 for key in keys if not key.events & EVENT_WRITE)


def _begin(host: str, port: int, links: ExitStack, waiting: BaseSelector, now: float) -> None:
    with suppress(OSError):
        for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with suppress(OSError):  # a family that is not there
                link = links.enter_context(socket.socket(family, kind, protocol))
                link.setblocking(False)
                link.connect_ex(where)
                waiting.register(link, EVENT_READ | EVENT_WRITE, now)  # writable: it was taken, or refused
