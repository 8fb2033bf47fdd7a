"""The process itself: how long its help takes, and how much memory its commands need on this side."""

from __future__ import annotations

import sys

from droplet import BENCH, Droplet
from series import Contestant, Progress, Section, Target, in_turn
from shelling import run, timed
from startup import OPSCTL


def help_time(rounds: int, progress: Progress) -> Section:
    """`opsctl --help` against a bare Typer app on the same Python."""
    bare = [sys.executable, str(BENCH / "bare.py"), "--help"]
    contestants = (
        Contestant("opsctl", lambda: timed([OPSCTL, "--help"])),
        Contestant("bare Typer", lambda: timed(bare)),
        Contestant("bare Python", lambda: timed([sys.executable, "-c", "pass"])),
    )
    for each in contestants:
        each.run()
    series = in_turn(contestants, rounds * 4, progress)
    target = Target("opsctl", 1.3, "bare Typer", words="at most 1.3 × a bare Typer app with rich")
    return Section("help", "opsctl --help", "s", series, (target,), failed=series.failed)


def laptop_memory(droplet: Droplet, rounds: int, progress: Progress) -> Section:
    """Peak memory on the side of whoever types; for information."""
    where = ["--stack", str(droplet.stack_file), "-d", droplet.name]
    commands = {
        "opsctl startup": [OPSCTL, "startup", "--phase", "3", *where],
        "opsctl memory report": [OPSCTL, "memory", "report", *where],
        "opsctl --help": [OPSCTL, "--help"],
        "bare Python": [sys.executable, "-c", "pass"],
    }
    contestants = [Contestant(name, lambda argv=argv: _peak(argv)) for name, argv in commands.items()]  # type: ignore[misc]
    series = in_turn(contestants, rounds, progress)
    return Section(
        "memory-laptop",
        "peak memory on the laptop (information)",
        "bytes",
        series,
        notes=("everything up already; the largest process of the tree",),
        failed=series.failed,
    )


def _peak(argv: list[str]) -> float:
    """Bytes at the peak of the largest process of a command's tree."""
    quiet = 'set -o pipefail; "$@" 2>&1 >/dev/null | tail -n 1'
    return float(run(["bash", "-c", quiet, "rss", sys.executable, str(BENCH / "rss.py"), *argv]))
