"""One connection to a Redis, Valkey or Dragonfly, and which of its errors pass."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

Command = bytes | Sequence[bytes | str | int | float]  # bytes are a whole one, as it travels

_BOUND = 16_000_000  # bytes on their way in one go


class Line:
    """One connection, for one thread at a time. Once broken it stays so: nothing reconnects behind one's back."""

    def __init__(self, connection: Any) -> None:  # redis-py leaves these methods untyped
        self._connection = connection
        self._waiting = 0

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands in one go, without waiting for what they are answered."""
        self._connection.send_packed_command([b"".join(map(packed, commands))], check_health=False)
        self._waiting += len(commands)

    def receive(self) -> list[Any]:
        """What everything that was sent is answered, in order; an error of one command is among them as it is.

        One that passes (the server still loads its data) is raised: all of it is to be asked again.
        """
        from redis.exceptions import ResponseError

        answers: list[Any] = []
        for _ in range(self._waiting):
            try:
                answers.append(self._connection.read_response())
            except ResponseError as error:
                answers.append(error)
        self._waiting = 0
        for answer in answers:
            if isinstance(answer, Exception) and broken(answer):
                raise answer
        return answers

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """`send`, then `receive`."""
        self.send(commands)
        return self.receive()

    def close(self) -> None:
        """End the connection."""
        self._connection.disconnect()


def packed(command: Command) -> bytes:
    """A command as it travels: redis-py's own packing takes as long as the server needs to answer.

    One that is packed already stays as it is.
    """
    if isinstance(command, bytes):
        return command
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def hgetall(key: bytes) -> bytes:
    """HGETALL as it travels: there are as many as there are hashes."""
    return b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%b\r\n" % (len(key), key)


def in_goes(line: Line, commands: Sequence[Command]) -> list[Any]:
    """Ask, with no more than some megabytes on their way at once: a pipe that fills from both ends stands still."""
    answers: list[Any] = []
    go: list[Command] = []
    size = 0
    for command in commands:
        go.append(command)
        size += sum(len(part) if isinstance(part, bytes | str) else 8 for part in command)
        if size >= _BOUND or len(go) >= 1000:
            answers += line.ask(go)
            go, size = [], 0
    return answers + line.ask(go) if go else answers


def broken(error: BaseException) -> bool:
    """Whether an error is one that waiting and a new connection may mend."""
    from redis import exceptions as redis

    if isinstance(error, redis.AuthenticationError | redis.AuthorizationError) or certificate(error):
        return False
    if isinstance(error, redis.ResponseError):
        return isinstance(error, redis.MasterDownError | redis.TryAgainError) or str(error).startswith("BUSY ")
    return isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError)


def certificate(error: BaseException | None) -> bool:
    """Whether it is the certificate that is not trusted."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
