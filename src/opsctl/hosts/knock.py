"""Whether anybody speaks SSH at a droplet's address: cheap enough to ask several times a second while it boots."""

from __future__ import annotations

import socket
import time

from opsctl.hosts.ssh_config import Address, Target, resolve
from opsctl.model.cancel import Cancel
from opsctl.model.stack import Droplet

_SLICE = 0.1


class Knocker:
    """Asks one droplet's sshd for its banner."""

    def __init__(self, droplet: Droplet) -> None:
        self._droplet = droplet
        self._target: Target | None = None

    def __call__(self, cancel: Cancel) -> bool:
        """Whether a banner came before the token was done; True too where only a login can tell (jump hosts)."""
        if self._droplet.address == "local":
            return True
        if self._target is None:
            self._target = resolve(Address.parse(self._droplet.address), self._droplet)
        if self._target.proxy_jump or self._target.proxy_command:
            return True
        return _banner(self._target.host, self._target.port, cancel)


def _banner(host: str, port: int, cancel: Cancel) -> bool:
    left = cancel.remaining
    end = time.monotonic() + (1.5 if left is None else left)
    try:
        with socket.create_connection((host, port), timeout=max(_SLICE, end - time.monotonic())) as link:
            link.settimeout(_SLICE)
            while time.monotonic() < end and not cancel.cancelled:
                try:
                    return link.recv(4).startswith(b"SSH")
                except TimeoutError:
                    continue
    except OSError:
        return False
    return False
