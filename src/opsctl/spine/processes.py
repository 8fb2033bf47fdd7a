"""Runs and processes told apart for good: a process's number comes again, at times within hours."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path


def new_run_id() -> str:
    """An id that sorts by time and is unique enough for one droplet: 20261120T185312-3f9a1c.

    Its last part begins with the 4096ths of the second: two runs of one second come in their order, too.
    """
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}-{now.microsecond * 4096 // 1_000_000:03x}{int.from_bytes(os.urandom(2)) & 0xFFF:03x}"


def born(pid: int) -> str:
    """The boot and the moment in which a process was born, "" for one that is gone."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name in brackets may hold anything, even brackets.
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _born_elsewhere(pid)
    return "" if rest[0] in "ZX" else f"{boot[:8]}-{rest[19]}"


def _born_elsewhere(pid: int) -> str:
    if Path("/proc/self/stat").exists():
        return ""
    try:  # a system without /proc: the number has to do
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
