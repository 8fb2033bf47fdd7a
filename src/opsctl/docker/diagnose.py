"""One look at a failed service, and the reading of it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from opsctl.docker.diagnose_causes import find_cause, name_holder
from opsctl.docker.facts import MARK, parse_meminfo, split
from opsctl.docker.inspect import TEMPLATE, parse_containers
from opsctl.model.engine import Container, ProbeState
from opsctl.model.operate import Diagnosis
from opsctl.model.ports import Script

LOG_LINES = 20
_KERNEL_WINDOW = 300  # s; older kills belong to an earlier start of the same container


@cache
def _text() -> str:
    return Path(__file__).with_name("diagnose.sh").read_text(encoding="utf-8")


def diagnose_script(container: str, socket: str) -> Script:
    """Read state, last log lines, kernel log, memory and disk in one call."""
    return Script(_text(), (MARK, TEMPLATE, socket, container, str(LOG_LINES)))


_EXIT = re.compile(r"exit code (\d+)")


def parse_diagnosis(service: str, output: str, seen: ProbeState | None = None) -> Diagnosis:
    """What the script printed, with the likely cause in words. What was `seen` to end counts, not its next start."""
    sections = split(output)

    def text(name: str) -> str:
        return sections[name].text if name in sections and sections[name].code == 0 else ""

    found = parse_containers(text("inspect"))
    container = found[0] if found else None
    ended = _EXIT.search(seen.detail) if seen and seen.state in ("exited", "restarting", "oom") else None
    if container and ended and container.status in ("running", "restarting"):
        container = replace(container, status="restarting", exit_code=int(ended[1]))
    kernel = kernel_lines(text("kernel"), container.id if container else "", uptime(text("uptime")))
    looked = Diagnosis(
        service=service,
        status=container.status if container else "gone",
        exit_code=container.exit_code if container else 0,
        restarts=container.restart_count if container else 0,
        oom=oom_verdict(container, kernel),
        memory_limit=container.memory_limit if container else 0,
        error=container.error if container else "",
        health_log=container.health_log if container else (),
        log=tuple(line for line in text("logs").split("\n") if line.strip()),
        kernel=tuple(map(shortened, kernel)),
        memory=parse_meminfo(text("meminfo")) if text("meminfo") else None,
        disk_free=_disk_free(text("disk")),
        cause="",
        advice="",
    )
    return name_holder(find_cause(looked), text("port"))


def uptime(text: str) -> float:
    """Seconds since the host's boot."""
    return float(text.split()[0]) if text.split() else 0.0


_STAMP = re.compile(r"^\[\s*(\d+\.\d+)\]")


def kernel_lines(text: str, container: str, now: float) -> tuple[str, ...]:
    """The kernel's recent lines about kills in this container. `now` is the host's uptime in seconds."""
    lines = [line for line in text.split("\n") if _recent(line, now)]
    named = [line for line in lines if container and container in line]
    pids = {match[1] for line in named if (match := re.search(r"\bpid=(\d+)", line))}
    return tuple(
        line for line in lines if line in named or ((m := re.search(r"Killed process (\d+)", line)) and m[1] in pids)
    )


def shortened(line: str) -> str:
    """A kernel line with container ids as `docker ps` writes them."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", line)


def _recent(line: str, now: float) -> bool:
    match = _STAMP.match(line)
    return match is None or float(match[1]) >= now - _KERNEL_WINDOW


def oom_verdict(container: Container | None, kernel: tuple[str, ...]) -> str:
    """Whose memory ran out: the container's own limit, or the host's.

    A kill on behalf of a cgroup above the container's is the host's from where the container stands.
    """
    for line in reversed(kernel):
        if "oom-kill:" in line and container is not None:
            own = re.search(r"oom_memcg=([^,]*)", line)
            return "limit" if own and container.id in own[1] else "host"
    return "unknown" if container is not None and container.oom_killed else ""


def _disk_free(text: str) -> int | None:
    words = text.split()
    return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdigit() else None
