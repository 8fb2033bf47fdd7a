"""Whether anybody speaks SSH at an address, asked without a login: once, or with a login's patience."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from opsctl.hosts.knock import Knocker
from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted, UnreachableError
from opsctl.model.stack import Droplet


@contextmanager
def serving(answer: Callable[[socket.socket, int], None]) -> Iterator[tuple[Knocker, list[int]]]:
    """A server that does something with its n-th connection, from 1 on; who knocks there, and which were taken."""
    taken = list[int]()
    with socket.create_server(("127.0.0.1", 0)) as server, suppress(OSError):

        def serve() -> None:
            with suppress(OSError):
                while True:
                    link, _ = server.accept()
                    taken.append(len(taken) + 1)
                    threading.Thread(target=one, args=(link, len(taken)), name="served").start()

        def one(link: socket.socket, number: int) -> None:
            with suppress(OSError), link:
                answer(link, number)

        thread = threading.Thread(target=serve, name="server")
        thread.start()
        try:
            yield Knocker(Droplet("d", f"root@127.0.0.1:{server.getsockname()[1]}")), taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def until_it_hangs_up(link: socket.socket) -> None:
    while link.recv(64):
        pass


def test_who_hangs_up_is_asked_three_times_as_by_a_login_before_it_counts_as_silent() -> None:
    with serving(lambda link, _: None) as (knocker, taken):
        with pytest.raises(UnreachableError, match="does not speak SSH") as told:
            knocker.listen(Cancel(20))
        assert taken == [1, 2, 3]
    assert told.value.info.code == "no-banner"
    assert "(3 tries)" in told.value.info.why


def test_a_busy_sshd_that_speaks_at_the_second_try_does_speak() -> None:
    def second(link: socket.socket, number: int) -> None:
        if number == 2:
            link.sendall(b"welcome to the machine\r\nSSH-2.0-x\r\n")
            until_it_hangs_up(link)

    with serving(second) as (knocker, taken):
        knocker.listen(Cancel(20))
        assert taken == [1, 2]


def test_a_port_where_nothing_listens_is_refused_and_a_silent_one_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        silent = Knocker(Droplet("d", f"root@127.0.0.1:{port}"))
        with pytest.raises(UnreachableError) as told:
            silent.listen(Cancel(0.4))
        assert told.value.info.code == "no-banner"
        stopped = Cancel()
        stopped.cancel()
        with pytest.raises(Interrupted):
            silent.listen(stopped)
    with pytest.raises(UnreachableError) as told:
        silent.listen(Cancel(20))
    assert told.value.info.code == "refused"


def test_while_a_first_connection_says_nothing_another_one_is_greeted() -> None:
    def later(link: socket.socket, number: int) -> None:
        if number > 1:
            link.sendall(b"SSH-2.0-x\r\n")
        until_it_hangs_up(link)

    with serving(later) as (knocker, taken):
        bound = Cancel(20)
        assert knocker(bound)
        assert taken == [1, 2]
        assert not bound.expired


def test_who_took_the_connection_may_take_long_for_a_first_word_and_is_not_asked_over_and_over() -> None:
    spoken = threading.Event()

    def late(link: socket.socket, number: int) -> None:
        if number == 1:
            spoken.wait(3)  # longer than a packet that was dropped is waited for
            link.sendall(b"SSH-2.0-x\r\n")
        until_it_hangs_up(link)

    with serving(late) as (knocker, taken):
        bound = Cancel(20)
        assert knocker(bound)
        assert not bound.expired
        assert 2 <= len(taken) <= 5  # begun after 0.25, 0.75, 1.75 and 3.75 s; each is a process to a busy machine


def test_who_hangs_up_on_every_connection_is_told_at_once() -> None:
    with serving(lambda link, _: None) as (knocker, taken):
        bound = Cancel(20)
        assert not knocker(bound)
        assert not bound.expired
        assert taken == [1]


def test_an_sshd_that_turns_us_away_for_a_while_is_left_in_peace_and_asked_again() -> None:
    def turned_away_once(link: socket.socket, number: int) -> None:
        link.sendall(b"Not allowed at this time\r\n" if number == 1 else b"SSH-2.0-x\r\n")

    with serving(turned_away_once) as (knocker, taken):
        assert not knocker(Cancel(1))
        assert taken == [1]
    with serving(turned_away_once) as (knocker, taken):
        assert knocker(Cancel(20))
        assert taken == [1, 2]


def test_this_machine_needs_no_sshd() -> None:
    knocker = Knocker(Droplet("d", "local"))
    knocker.listen(Cancel(0))
    assert knocker(Cancel(0))
