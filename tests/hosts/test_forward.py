"""Forwarded ports: a loopback port here that reaches what the host can reach."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.hosts.support import eventually, free_port

from opsctl.hosts.base import AgentHost
from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed
from opsctl.model.ports import Endpoint


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets, until the sender is through."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def serve(link: socket.socket) -> None:
            with link:
                while data := link.recv(1 << 16):
                    link.sendall(data)

        def accept() -> None:
            with ThreadPoolExecutor(32) as pool:
                while True:
                    link, _ = listener.accept()
                    if stop.is_set():
                        return
                    pool.submit(serve, link)

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


def there_and_back(endpoint: Endpoint, data: bytes) -> bytes:
    with socket.create_connection((endpoint.host, endpoint.port), 20) as link:
        sender = threading.Thread(target=lambda: (link.sendall(data), link.shutdown(socket.SHUT_WR)))
        sender.start()
        received = b""
        while piece := link.recv(1 << 16):
            received += piece
        sender.join()
        return received


def test_much_data_and_many_at_once(host: AgentHost) -> None:
    with echo() as port, host.forward("127.0.0.1", port) as endpoint, ThreadPoolExecutor(12) as pool:
        data = [bytes([number]) * 300_000 for number in range(12)]
        assert list(pool.map(lambda piece: there_and_back(endpoint, piece), data)) == data


def test_a_port_of_ones_own(host: AgentHost) -> None:
    mine = free_port()
    with echo() as port, host.forward("127.0.0.1", port, local_port=mine) as endpoint:
        assert (endpoint.host, endpoint.port) == ("127.0.0.1", mine)
        assert there_and_back(endpoint, b"x") == b"x"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", mine), 2)


def test_a_taken_port_is_said(host: AgentHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StepFailed) as caught, host.forward("127.0.0.1", 1, local_port=port):
            pass
    assert caught.value.info.code == "port-taken" and str(port) in caught.value.info.what


def test_a_target_that_refuses_closes_the_connection(host: AgentHost) -> None:
    mine = free_port()
    with (
        host.forward("127.0.0.1", free_port(), local_port=mine),
        contextlib.suppress(ConnectionResetError),
        socket.create_connection(("127.0.0.1", mine), 10) as link,
    ):
        link.settimeout(20)
        assert link.recv(1) == b""


def test_the_end_of_the_context_ends_open_connections(host: AgentHost, cancel: Cancel) -> None:
    mine = free_port()
    with echo() as port:
        with host.forward("127.0.0.1", port, local_port=mine):
            link = socket.create_connection(("127.0.0.1", mine), 10)
            link.sendall(b"x")
            assert link.recv(1) == b"x"
        link.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(1) == b""
        link.close()
    assert eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "forward"])
