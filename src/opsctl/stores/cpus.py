"""How many cores this process may really use: a container's limit counts, not the machine's cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """At least 1: the cores this process may be scheduled on, or fewer where a cgroup grants less time."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = min(filter(None, _grants(cgroups, own)), default=float(there))
    return max(1, min(there, math.ceil(granted)))


def _grants(cgroups: Path, own: Path) -> list[float]:
    """Cores that this process's cgroup, and those above it, grant; of both versions."""
    found: list[float] = []
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        root = cgroups / controllers if controllers else cgroups
        # In a container the path is the host's, and what is mounted is its own end.
        for place in (root, *((root / path.strip("/")), *(root / path.strip("/")).parents)):
            if place == cgroups.parent or not place.is_relative_to(cgroups):
                break
            found += _quota(place)
    return found


def _quota(place: Path) -> list[float]:
    quota, _, period = _text(place / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(place / "cpu.cfs_quota_us"), _text(place / "cpu.cfs_period_us")
    try:
        cores = int(quota) / int(period)
    except ValueError:  # max, or no such file
        return []
    return [cores] if cores > 0 else []


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
