"""This process's terminal, connected to a command on a host."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import termios
import tty as ttys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from opsctl.model.cancel import Cancel

if TYPE_CHECKING:
    from paramiko import Channel

_SLICE = 0.1


def attach(argv: Sequence[str], cancel: Cancel) -> int:
    """Run a command here with this process's own stdin, stdout and stderr."""
    stdin = sys.stdin.fileno()
    terminal = os.isatty(stdin)
    # A group of its own in front of the terminal, so that Ctrl-C is typed at the command and not at us. It stops
    # itself until it is in front.
    words = ["sh", "-c", 'kill -STOP $$; exec "$@"', "sh", *argv] if terminal else list(argv)
    child = subprocess.Popen(words, process_group=0 if terminal else None)
    try:
        with _in_front(child.pid, stdin) if terminal else contextlib.nullcontext():
            while True:
                try:
                    return _status(child.wait(_SLICE))
                except subprocess.TimeoutExpired:
                    cancel.check()
    finally:
        _end(child)


@contextlib.contextmanager
def _in_front(group: int, terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    os.waitid(os.P_PID, group, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    _give_terminal(terminal, group)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)
    try:
        yield
    finally:
        _give_terminal(terminal, os.getpgrp())
        with _without_stop_signal():
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _give_terminal(terminal: int, group: int) -> None:
    # Who is not in front is stopped for asking, unless the signal is blocked; a group that is gone already needs none.
    with _without_stop_signal(), contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, group)


@contextlib.contextmanager
def _without_stop_signal() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _status(code: int) -> int:
    return 128 - code if code < 0 else code


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(2.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def attach_channel(channel: Channel, command: str, *, tty: bool, cancel: Cancel) -> int:
    """Run a command at the other end of an SSH channel with this process's stdin, stdout and stderr."""
    stdin = sys.stdin.fileno()
    raw = tty and os.isatty(stdin)
    size = os.get_terminal_size(stdin) if raw else os.terminal_size((80, 24))
    if tty:
        channel.get_pty(os.environ.get("TERM", "dumb"), size.columns, size.lines)
    channel.exec_command(command)
    with _raw(stdin) if raw else contextlib.nullcontext():
        _pump(channel, stdin, size if raw else None, cancel)
    # The status may come before the last output, and the end of the output before the status.
    channel.status_event.wait(5.0)
    return channel.recv_exit_status() if channel.exit_status_ready() else 255


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    try:
        ttys.setraw(fd, termios.TCSADRAIN)  # the default throws away what was typed ahead
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _pump(channel: Channel, stdin: int, size: os.terminal_size | None, cancel: Cancel) -> None:
    sources: list[int] = [channel.fileno(), stdin]
    while True:
        ready = select.select(sources, [], [], _SLICE)[0]
        if stdin in ready:
            data = os.read(stdin, 1 << 15)
            if data:
                channel.sendall(data)
            else:
                channel.shutdown_write()
                sources.remove(stdin)
        if _drain(channel):
            return
        cancel.check()
        # Looked at in each slice: a signal handler for it would belong to the main thread only.
        if size is not None and (now := os.get_terminal_size(stdin)) != size:
            size = now
            channel.resize_pty(size.columns, size.lines)


def _drain(channel: Channel) -> bool:
    """Hand on what is there; True when the command is over and nothing is left."""
    while channel.recv_ready():
        _write(sys.stdout.fileno(), channel.recv(1 << 15))
    while channel.recv_stderr_ready():
        _write(sys.stderr.fileno(), channel.recv_stderr(1 << 15))
    over = channel.eof_received or channel.closed
    return bool(over) and not channel.recv_ready() and not channel.recv_stderr_ready()


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
