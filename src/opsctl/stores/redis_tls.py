"""TLS to a Redis whose socket leads elsewhere: through an SSH connection, say."""

from __future__ import annotations

import socket
from typing import Any

from redis.connection import SSLConnection


class Forwarded(SSLConnection):
    """Connects to `way`, and asks for the name and the certificate of `host`, which is the server's own.

    The vendor's class checks the certificate against the address it connects to.
    """

    def __init__(self, *, way: tuple[str, int], **settings: Any) -> None:
        super().__init__(**settings)
        self._way = way

    def _connect(self) -> Any:
        sock = socket.create_connection(self._way, timeout=self.socket_connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wrapped: Any = self._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
            wrapped.settimeout(self.socket_timeout)
        except BaseException:
            sock.close()
            raise
        return wrapped
