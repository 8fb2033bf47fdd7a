"""Droplets side by side: `startup --phase 2 -d all` on five against one, and what the machine allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from series import Contestant, Progress, Section, Target, in_turn
from shelling import run, timed
from startup import OPSCTL

SANDBOX = "bench-fleet"
COUNT = 5
PHASE = 2
# The same work without opsctl: what is in it is the containers' own time, and how many of them the cores can carry.
_FLOOR = r"""
id() { docker ps -aq --filter "label=com.docker.compose.service=$1"; }
ready() { until docker exec "$(id "$1")" python3 -c "import urllib.request as u; u.urlopen('$2')" 2>/dev/null
  do sleep 0.1; done; }
docker start $(id postgres) $(id redis) $(id gateway-mcp) >/dev/null
until docker exec "$(id postgres)" pg_isready -q -h 127.0.0.1; do sleep 0.1; done
ready gateway-mcp http://127.0.0.1:8000/health
docker start $(id orchestrator) >/dev/null
ready orchestrator http://127.0.0.1:8001/health
"""


@dataclass(frozen=True)
class Fleet:
    """A sandbox of several droplets."""

    stack: Path
    names: tuple[str, ...]
    ssh: tuple[tuple[str, ...], ...]

    def opsctl(self, *words: str) -> list[str]:
        """An argv of opsctl on this fleet."""
        return [OPSCTL, *words, "--stack", str(self.stack)]

    def stop(self) -> None:
        """All services of all droplets stopped, not removed."""
        run(self.opsctl("stop", "-d", "all", "--yes"), timeout=600)


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Five droplets of the bench's own, taken away afterwards."""
    up = [OPSCTL, "sandbox", "up", "--name", SANDBOX, "--kind", "container", "--count", str(COUNT)]
    try:
        subprocess.run(up, check=True, stdout=sys.stderr)
        said = json.loads(run([OPSCTL, "sandbox", "status", "--name", SANDBOX, "--json"]))["droplets"]
        names = tuple(each["name"] for each in said)
        ssh = tuple(tuple(each["result"]["ssh"]) for each in said)
        yield Fleet(Path(said[0]["result"]["stack_file"]), names, ssh)
    finally:
        subprocess.run([OPSCTL, "sandbox", "down", "--name", SANDBOX], check=False, stdout=sys.stderr)


def side_by_side(rounds: int, progress: Progress) -> Section:
    """Phase 2 from stopped, on one droplet and on all of them at once."""
    with fleet() as droplets:
        progress("creating the containers, and a first start that nobody measures")
        run(droplets.opsctl("startup", "--phase", str(PHASE), "-d", "all"), timeout=900)

        def started(*chosen: str) -> float:
            droplets.stop()
            return timed(droplets.opsctl("startup", "--phase", str(PHASE), *chosen), timeout=600)

        def floor(ssh: Sequence[tuple[str, ...]]) -> float:
            droplets.stop()
            began = time.monotonic()
            with ThreadPoolExecutor(len(ssh)) as pool:
                list(pool.map(lambda argv: run([*argv, "bash -s"], stdin=_FLOOR, timeout=600), ssh))
            return time.monotonic() - began

        contestants = (
            Contestant("one", lambda: started("-d", droplets.names[0])),
            Contestant("five", lambda: started("-d", "all")),
            Contestant("floor one", lambda: floor(droplets.ssh[:1])),
            Contestant("floor five", lambda: floor(droplets.ssh)),
        )
        series = in_turn(contestants, rounds, progress)
    cores = len(os.sched_getaffinity(0))
    return Section(
        "fleet",
        f"startup --phase {PHASE} from stopped, {COUNT} droplets side by side",
        "s",
        series,
        (
            Target("five", 1.50, "one", words="at most 1.5 × one droplet, the cores allowing"),
            Target("five", 1.10, "floor five", words="at most 1.1 × the same without opsctl"),
        ),
        (f"{cores} cores here for {COUNT} droplets: floor five ÷ floor one is what the machine allows",),
        series.failed,
    )
