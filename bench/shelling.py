"""Running a program and holding it to its exit status."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence


class DidNotRun(Exception):
    """A contestant failed, or left another state than the others: there is nothing to compare."""


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: str = "", timeout: float = 300) -> str:
    """Run a program to its end; its stdout. Raises DidNotRun with its last words."""
    whole = {**os.environ, **(env or {})}
    try:
        done = subprocess.run(
            argv, env=whole, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as expired:
        raise DidNotRun(f"{argv[0]} was still running after {timeout:.0f} s") from expired
    if done.returncode:
        last = (done.stdout + done.stderr)[-2000:]
        raise DidNotRun(f"{' '.join(argv[:6])} … ended with {done.returncode}:\n{last}")
    return done.stdout


def timed(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 300) -> float:
    """Seconds from the start of a program to its end. Raises DidNotRun."""
    begin = time.perf_counter()
    run(argv, env=env, timeout=timeout)
    return time.perf_counter() - begin
