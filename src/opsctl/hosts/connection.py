"""One SSH connection: dialled within a bound, its host key checked, logged in."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opsctl.hosts import hostkeys, trust
from opsctl.hosts.auth import AskPassphrase, log_in
from opsctl.hosts.ssh_config import Address, Target, resolve
from opsctl.hosts.vendor import load_paramiko
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, UnreachableError

if TYPE_CHECKING:
    from paramiko import Transport

_TRIES: Final = 3
_PAUSE: Final = 0.3  # s after the first try, twice that after the second
_QUICK_PAUSE: Final = 0.1
_KEEPALIVE: Final = 15
_UNACKNOWLEDGED: Final = 45_000
_MAX_HOPS: Final = 8
_MAX_WORDS: Final = 8192
_SILENT: Final = "it accepted the connection and then said nothing"
_HUNG_UP: Final = "it accepted the connection and hung up before it had said who it is"
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Answers:
    """Who is asked when a person has to decide; None: nobody is there."""

    confirm_host_key: trust.Confirm | None = None
    ask_passphrase: AskPassphrase | None = None


class _Flaky(Exception):
    """The other side hung up before it had said who it is: a busy sshd does that, and another try helps."""


def dial(target: Target, answers: Answers, cancel: Cancel, hops: int = 0) -> list[Transport]:
    """Connect and log in; the transports of the way there, the target's own last. Raises UnreachableError."""
    if hops > _MAX_HOPS:
        raise ConfigError(f"the way to {target.host} is a circle", why="ProxyJump leads back to itself")
    bound = cancel.child(target.timeout * (1 + len(target.proxy_jump)))
    return _tried(target, bound, lambda: _dial_once(target, answers, bound, hops))


def listen(target: Target, cancel: Cancel) -> None:
    """Wait for sshd to say who it is: the tries of a login, in quicker succession, with its bound and its errors.

    Raises UnreachableError. Of a target behind others only a login can tell. Who asks has more patience of their own,
    or wants none; a daemon that says nothing is waited for as long as by a login.
    """
    bound = cancel.child(target.timeout)
    _tried(target, bound, lambda: _first_words(target, bound), pause=_QUICK_PAUSE)


def _tried(target: Target, bound: Cancel, once: Callable[[], _Result], *, pause: float = _PAUSE) -> _Result:
    for attempt in range(_TRIES):
        try:
            return once()
        except _Flaky as error:
            if attempt == _TRIES - 1 or bound.wait(pause * 2**attempt):
                bound_over(bound)
                raise UnreachableError(
                    f"{target.host} port {target.port} does not speak SSH with us",
                    why=f"{error} ({attempt + 1} tries)",
                    next=f"{_by_hand(target)}\nopsctl recover --dry-run",
                    code="no-banner",
                ) from error
    raise AssertionError


def bound_over(bound: Cancel) -> None:
    """Raise Interrupted if somebody asked for the end; a deadline alone has its own words."""
    if bound.cancelled:
        bound.check()


def _first_words(target: Target, bound: Cancel) -> None:
    said = b""
    with _tcp(target, bound) as link:
        while not any(line.startswith(b"SSH-") for line in said.splitlines()):  # others may come before it
            while not select.select([link], [], [], 0.1)[0]:
                bound_over(bound)
                if bound.expired:
                    raise _Flaky(_SILENT)
            try:
                more = link.recv(256)
            except OSError:
                more = b""
            said += more
            if not more or len(said) > _MAX_WORDS:
                raise _Flaky(_HUNG_UP)


def _dial_once(target: Target, answers: Answers, bound: Cancel, hops: int) -> list[Transport]:
    way: list[Transport] = []
    try:
        sock = _socket(target, answers, bound, hops, way)
        way.append(_transport(sock, target, answers, bound))
        return way
    except BaseException:
        hang_up(way)
        raise


def hang_up(way: list[Transport]) -> None:
    """Close the transports, the far end first."""
    for transport in reversed(way):
        with contextlib.suppress(Exception):
            transport.close()


def _socket(target: Target, answers: Answers, bound: Cancel, hops: int, way: list[Transport]) -> Any:
    if target.proxy_jump:
        *before, last = target.proxy_jump
        hop = resolve(Address.parse(last))
        if before:
            hop = Target(**{**vars(hop), "proxy_jump": tuple(before), "proxy_command": None})
        way += dial(hop, answers, bound, hops + 1)
        return _through(way[-1], hop, target, bound)
    if target.proxy_command:
        return _command_socket(target.proxy_command)
    return _tcp(target, bound)


def _tcp(target: Target, bound: Cancel) -> socket.socket:
    # A socket of our own: without TCP_NODELAY every exchange waits 40 ms for the other side's delayed ACK.
    try:
        found = patiently(lambda: socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM), bound)
        link = _first_answer([(entry[0], entry[4]) for entry in found], bound)
    except OSError as error:
        raise _no_way(target, error) from error
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # what nobody acknowledges for so long (ms), nobody will
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
    return link


def _first_answer(places: list[tuple[int, Any]], bound: Cancel) -> socket.socket:
    failure: OSError = TimeoutError("no address")
    for number, (family, where) in enumerate(places):
        left = bound.remaining
        # An address that is silent must leave time for the next one.
        own = bound.child(left / (len(places) - number) if left is not None else None)
        link = _PromptSocket(family, socket.SOCK_STREAM)
        try:
            _reach(link, where, own)
            return link
        except OSError as error:
            failure = error
            link.close()
        except BaseException:
            link.close()
            raise
    raise failure


def _reach(link: socket.socket, where: Any, bound: Cancel) -> None:
    """Connect in slices, because a blocking connect cannot be interrupted."""
    link.setblocking(False)
    link.connect_ex(where)
    while not select.select([], [link], [], 0.1)[1]:
        bound_over(bound)
        if bound.expired:
            raise TimeoutError("timed out")
    if problem := link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(problem, os.strerror(problem))
    link.setblocking(True)


class _PromptSocket(socket.socket):
    """Acknowledges at once: until a command runs, sshd holds back each answer for our acknowledgement of the last."""

    def recv(self, *args: int) -> bytes:
        data = super().recv(*args)
        if hasattr(socket, "TCP_QUICKACK"):  # the kernel forgets it after a while
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def _through(transport: Transport, hop: Target, target: Target, bound: Cancel) -> Any:
    from paramiko import SSHException

    where = (target.host, target.port)
    try:
        return patiently(
            lambda: transport.open_channel("direct-tcpip", where, ("127.0.0.1", 0), timeout=bound.remaining), bound
        )
    except (SSHException, EOFError, OSError) as error:
        raise UnreachableError(
            f"{target.host} port {target.port} cannot be reached through {hop.login}",
            why=str(error) or "the jump host refused",
            next=f"ssh {hop.login} nc -z {target.host} {target.port}",
            code="jump-failed",
        ) from error


def _command_socket(command: str) -> socket.socket:
    # A socket pair instead of pipes: the end of the command is then seen as the end of the connection.
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            ["sh", "-c", f"exec {command}"], stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True
        )
    return ours


def patiently(work: Callable[[], _Result], bound: Cancel) -> _Result:
    """Do something that cannot be interrupted in a thread, and stop waiting for it when the bound says so."""
    result: list[_Result] = []
    failure: list[BaseException] = []

    def attempt() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=attempt, name="connect")
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if bound.done and thread.is_alive():
            bound_over(bound)
            raise TimeoutError("timed out")
    if failure:
        raise failure[0]
    return result[0]


def _transport(sock: Any, target: Target, answers: Answers, bound: Cancel) -> Transport:
    load_paramiko()
    from paramiko import Transport

    # paramiko reports to a logger what it also raises; without a handler Python would print it.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    records = hostkeys.on_record(target.known_as, target.known_hosts)
    transport = Transport(sock)
    try:
        transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = target.timeout
        trust.prefer_recorded(transport, records)
        _negotiate(transport, target, bound)
        trust.check(transport.get_remote_server_key(), target, records, answers.confirm_host_key)
        log_in(transport, target, bound, answers.ask_passphrase)
        transport.set_keepalive(_KEEPALIVE)
        return transport
    except BaseException:
        transport.close()
        sock.close()
        raise


def _negotiate(transport: Transport, target: Target, bound: Cancel) -> None:
    from paramiko.ssh_exception import IncompatiblePeer

    done = Event()
    transport.start_client(event=done)
    while not done.wait(0.05) and transport.is_active():
        if bound.done:
            bound_over(bound)
            raise _Flaky(_SILENT)
    if transport.is_active():
        return
    error = transport.get_exception()
    if isinstance(error, IncompatiblePeer):
        raise UnreachableError(
            f"{target.login} and opsctl have no SSH algorithm in common", why=str(error), code="ssh-incompatible"
        )
    raise _Flaky(_in_words(str(error or "")))


def _in_words(said: str) -> str:
    # What paramiko says is for those who know it.
    if "timed out" in said or "timeout" in said:
        return _SILENT
    if not said or "Errno" in said or said == "Error reading SSH protocol banner":
        return _HUNG_UP
    return said


def _no_way(target: Target, error: OSError) -> UnreachableError:
    where = f"{target.host} port {target.port}"
    if isinstance(error, socket.gaierror):
        return UnreachableError(
            f"the name {target.host} is not known",
            why=str(error.strerror),
            next=f"getent hosts {target.host}",
            code="dns",
        )
    if isinstance(error, TimeoutError):
        why, code = f"no answer within {target.timeout:g} s", "timeout"
    elif isinstance(error, ConnectionRefusedError):
        why, code = "connection refused: nothing listens there", "refused"
    else:
        why, code = str(error.strerror or error), "unreachable"
    return UnreachableError(f"{where} cannot be reached", why=why, next=_by_hand(target), code=code)


def _by_hand(target: Target) -> str:
    words = ["ssh", "-v", *(() if target.port == 22 else ("-p", str(target.port)))]
    # What the stack file says; what ssh's own configuration says, ssh finds by itself.
    if target.identities_only and len(target.identity_files) == 1:
        words += ["-i", target.identity_files[0], "-o", "IdentitiesOnly=yes"]
    if len(target.known_hosts) == 1:
        words += ["-o", f"UserKnownHostsFile={target.known_hosts[0]}"]
    if target.proxy_jump:
        words += ["-J", ",".join(target.proxy_jump)]
    return shlex.join([*words, f"{target.user}@{target.host}"])
