"""Processes of this machine told apart for good: their numbers come again, at times within hours."""

from __future__ import annotations

import os
from pathlib import Path


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
