"""A loopback port here whose connections are carried somewhere else."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from opsctl.model.errors import OpsError, StepFailed, UnreachableError
from opsctl.model.ports import Endpoint

_SLICE = 0.2


class Stream(Protocol):
    """What a socket and an SSH channel have in common."""

    def recv(self, size: int, /) -> bytes:
        """What is there, b"" at the end."""
        ...

    def sendall(self, data: bytes, /) -> object:
        """Write all of it."""
        ...

    def shutdown(self, how: int, /) -> object:
        """End one direction (1: writing) or both (2)."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def dial(host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
    """A TCP connection from here, without Nagle's delay."""
    link = socket.create_connection((host, port), timeout=timeout)
    link.settimeout(None)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


@contextlib.contextmanager
def listening(connect: Callable[[], Stream], local_port: int | None) -> Iterator[Endpoint]:
    """Listen on 127.0.0.1 and carry each connection over `connect()`; threads end with the context."""
    listener = _listener(local_port)
    relay = _Relay(listener, connect)
    relay.start()
    try:
        yield Endpoint("127.0.0.1", listener.getsockname()[1])
    finally:
        relay.stop()


def _listener(port: int | None) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port or 0))
    except OSError as error:
        raise StepFailed(
            f"port {port} on this machine cannot be used",
            why=str(error.strerror or error),
            next="take another one: opsctl tunnel SERVICE --local-port PORT",
            code="port-taken",
        ) from error


class _Relay:
    def __init__(self, listener: socket.socket, connect: Callable[[], Stream]) -> None:
        self._listener = listener
        self._connect = connect
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[Stream] = set()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._spawn(self._accept)

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            for end in self._open:
                _hang_up(end)
        for thread in list(self._threads):
            thread.join(2.0)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=target, args=args, name="forward")
            self._threads.append(thread)
            thread.start()

    def _accept(self) -> None:
        main = threading.main_thread()
        with self._listener:
            while not self._stopping.is_set() and main.is_alive():
                if select.select([self._listener], [], [], _SLICE)[0]:
                    near, _ = self._listener.accept()
                    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._spawn(self._carry, near)
        with self._lock:
            for end in self._open:
                _hang_up(end)

    def _carry(self, near: socket.socket) -> None:
        try:
            far = self._connect()
        except (OSError, EOFError, OpsError):
            near.close()
            return
        with self._lock:
            self._open |= {near, far}
        back = threading.Thread(target=_copy, args=(far, near), name="forward")
        back.start()
        _copy(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()


def _copy(source: Stream, sink: Stream) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(1)
    except (OSError, EOFError):
        _hang_up(source)
        _hang_up(sink)


def _hang_up(end: Stream) -> None:
    with contextlib.suppress(OSError, EOFError):
        end.shutdown(2)


def refused(name: str, target: str, why: str) -> UnreachableError:
    """The host let us in, and could not reach the target itself."""
    return UnreachableError(
        f"{target} cannot be reached from {name}", why=why, next=f"opsctl status -d {name}", code="target-unreachable"
    )
