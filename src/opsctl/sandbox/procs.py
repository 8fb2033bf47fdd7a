"""Programs of this machine, run to their end: bounded, interruptible, and their last words kept."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed


def output(
    argv: Sequence[str],
    *,
    cancel: Cancel,
    timeout: float,
    stdin: Path | bytes | None = None,
    cwd: Path | None = None,
) -> str:
    """What a program says on stdout, stripped. Raises StepFailed with its stderr, DeadlineExceeded, Interrupted."""
    code, out, error = attempt(argv, cancel=cancel, timeout=timeout, stdin=stdin, cwd=cwd)
    if code != 0:
        raise StepFailed(f"{_shown(argv)} failed (exit {code})", why=error or out)
    return out


def attempt(
    argv: Sequence[str],
    *,
    cancel: Cancel,
    timeout: float,
    stdin: Path | bytes | None = None,
    cwd: Path | None = None,
) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a program. Raises DeadlineExceeded (it is killed), Interrupted."""
    bound = cancel.child(timeout)
    with _input(stdin) as source, _started(argv, source, cwd) as process:
        if isinstance(stdin, bytes) and process.stdin is not None:
            # Small inputs only: a pipe takes 64 KiB without a reader.
            with suppress(BrokenPipeError):
                process.stdin.write(stdin)
            process.stdin.close()
        parts: dict[str, list[bytes]] = {"out": [], "error": []}
        for name, data in _read(process, bound, _shown(argv)):
            parts[name].append(data)
        code = process.wait()
    texts = [b"".join(parts[name]).decode(errors="replace").strip() for name in ("out", "error")]
    return code, texts[0], texts[1]


def lines(argv: Sequence[str], *, cancel: Cancel, timeout: float, keep: int = 25) -> Iterator[str]:
    """The lines of stdout as they come. Raises as `output`, with the last `keep` lines of stderr."""
    bound = cancel.child(timeout)
    last: deque[str] = deque(maxlen=keep)
    pending = {"out": b"", "error": b""}
    with _started(argv, subprocess.DEVNULL) as process:
        for name, data in _read(process, bound, _shown(argv)):
            *whole, pending[name] = (pending[name] + data).split(b"\n")
            for line in whole:
                if name == "out":
                    yield line.decode(errors="replace")
                else:
                    last.append(line.decode(errors="replace"))
        code = process.wait()
    if code != 0:
        raise StepFailed(f"{_shown(argv)} failed (exit {code})", why="\n".join(last))


def _shown(argv: Sequence[str]) -> str:
    return " ".join([Path(argv[0]).name, *argv[1:3]])


@contextmanager
def _input(stdin: Path | bytes | None) -> Iterator[int | IO[bytes]]:
    if isinstance(stdin, Path):
        with stdin.open("rb") as file:
            yield file
    else:
        yield subprocess.DEVNULL if stdin is None else subprocess.PIPE


@contextmanager
def _started(argv: Sequence[str], stdin: int | IO[bytes], cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    # A session of its own: Ctrl-C reaches us alone, and what we end ends with all its children.
    process = subprocess.Popen(
        argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _read(process: subprocess.Popen[bytes], bound: Cancel, what: str) -> Iterator[tuple[str, bytes]]:
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ, "out")
        ready.register(process.stderr, selectors.EVENT_READ, "error")
        while ready.get_map():
            bound.check(what)
            for key, _ in ready.select(0.1):
                data = os.read(key.fd, 65536)
                if data:
                    yield key.data, data
                else:
                    ready.unregister(key.fileobj)
