"""The two lines to an emulated machine: QEMU's monitor for its power, a serial line for the system in it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opsctl.model.errors import StepFailed, UnreachableError

MONITOR = "qmp.sock"
CONTROL = "control.sock"


def execute(folder: Path, command: str, *, timeout: float = 5.0) -> Any:
    """Run one monitor command without arguments and return its answer. `timeout` in seconds for all of it.

    Raises UnreachableError when nobody answers, StepFailed when the monitor refuses.
    """
    with _connect(folder, MONITOR, timeout) as lines:
        lines.read()  # the greeting
        lines.write(json.dumps({"execute": "qmp_capabilities"}))
        _result(lines, "qmp_capabilities")
        lines.write(json.dumps({"execute": command}))
        return _result(lines, command)


def ask(folder: Path, word: str, *, timeout: float = 3.0) -> str | None:
    """What the system in the machine answers to one word; None when it says nothing within `timeout` seconds.

    The line is open from power-on: what an earlier question left in it is told apart by its number.
    """
    number = str(time.monotonic_ns())
    try:
        with _connect(folder, CONTROL, timeout) as lines:
            lines.write(f"{number} {word}")
            while True:
                head, _, answer = lines.read().partition(" ")
                if head == number:
                    return answer
    except UnreachableError:
        return None


class _Lines:
    """Lines over a socket, all within one deadline."""

    def __init__(self, peer: socket.socket, name: str, end: float) -> None:
        self._peer, self._name, self._end = peer, name, end
        self._rest = b""

    def write(self, line: str) -> None:
        self._peer.settimeout(self._left())
        self._peer.sendall(line.encode() + b"\n")

    def read(self) -> str:
        while b"\n" not in self._rest:
            self._peer.settimeout(self._left())
            piece = self._peer.recv(4096)
            if not piece:
                raise UnreachableError(f"the machine closed {self._name}")
            self._rest += piece
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode(errors="replace").strip("\r\0")

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


@contextmanager
def _connect(folder: Path, name: str, timeout: float) -> Iterator[_Lines]:
    # A socket's path may have 107 bytes at most, a folder's may have more: go there through a descriptor.
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UnreachableError(f"there is no machine in {folder}", why=str(error)) from error
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(timeout)
            peer.connect(f"/proc/self/fd/{here}/{name}")
            yield _Lines(peer, name, time.monotonic() + timeout)
    except OSError as error:
        raise UnreachableError(f"the machine does not answer on {name}", why=str(error)) from error
    finally:
        os.close(here)


def _result(lines: _Lines, command: str) -> Any:
    while True:
        message = json.loads(lines.read())
        if "return" in message:
            return message["return"]
        if "error" in message:
            raise StepFailed(f"the machine refuses {command}", why=str(message["error"].get("desc", "")))
