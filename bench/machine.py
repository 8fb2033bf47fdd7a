"""Facts of the machine and the droplet that belong beside every figure. No names, addresses or paths."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from droplet import Droplet
from shelling import DidNotRun, run

THERE = """
echo "kernel=$(uname -r)"
echo "cgroup=$([ -f /sys/fs/cgroup/cgroup.controllers ] && echo v2 || echo v1)"
echo "docker=$(docker version -f '{{.Server.Version}}')"
echo "compose=$(docker compose version --short)"
echo "python=$(python3 -V | cut -d' ' -f2)"
awk '/^MemTotal/ { print "memory_kb=" $2 }' /proc/meminfo
"""


def machine() -> dict[str, str | int]:
    """The machine on which the bench runs."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    cpu = models[0].split(":", 1)[1].strip() if models else platform.processor()
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    kb = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "memory_kb": int(kb),
        "system": system,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssh": _said(["ssh", "-V"]),
    }


def droplet(there: Droplet) -> dict[str, str]:
    """What the droplet is made of."""
    return dict(line.split("=", 1) for line in there.sh(THERE).splitlines() if "=" in line)


def load() -> float:
    """The machine's load of the last minute: how much else was going on."""
    return os.getloadavg()[0]


def _said(argv: list[str]) -> str:
    try:
        return run(["sh", "-c", '"$@" 2>&1', "version", *argv]).strip()
    except DidNotRun:
        return "unknown"
