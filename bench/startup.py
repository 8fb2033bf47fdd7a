"""Phased startup, from stopped and when all is up: opsctl, the floors, the peers, the documents' sleeps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import peers
from droplet import BENCH, Droplet
from series import Contestant, Progress, Section, Target, in_turn
from shelling import timed

OPSCTL = str(Path(sys.executable).parent / "opsctl")
Work = Callable[[], float]


def shell(script: str, droplet: Droplet) -> float:
    """Seconds of one of the shell contestants."""
    plan = str(droplet.folder / "plan.tsv")
    return timed([str(BENCH / script), str(droplet.ssh_config), plan, droplet.plan.compose])


def opsctl(droplet: Droplet) -> float:
    """Seconds of `opsctl startup --phase 3`."""
    return timed([OPSCTL, "startup", "--phase", "3", "--stack", str(droplet.stack_file), "-d", droplet.name])


def prepare(droplet: Droplet, progress: Progress) -> dict[str, Work]:
    """Everybody's work by name, with containers created and every page that is needed once read."""
    progress("creating the containers, and a first start that nobody measures")
    droplet.create()
    shell("floor.sh", droplet)
    ansible = partial(peers.environment, peers.ANSIBLE, progress)
    pyinfra = partial(peers.environment, peers.PYINFRA, progress)
    return {
        "opsctl": lambda: opsctl(droplet),
        "floor": lambda: shell("floor.sh", droplet),
        "docker start": lambda: shell("floor_docker_start.sh", droplet),
        "ansible": lambda: peers.ansible(ansible(), droplet),
        "pyinfra": lambda: peers.pyinfra(pyinfra(), droplet),
        "documents": lambda: shell("documents.sh", droplet),
    }


def from_stopped(droplet: Droplet, work: dict[str, Work], rounds: int, progress: Progress) -> Section:
    """All services stopped, not removed, before each run."""

    def contestant(name: str) -> Contestant:
        def once() -> float:
            before = droplet.stop_all()
            took = work[name]()
            droplet.verify(before, untouched=False)
            return took

        return Contestant(name, once, rounds=1 if name == "documents" else None)

    names = ("floor", "opsctl", "docker start", "pyinfra", "ansible", "documents")
    series = in_turn([contestant(name) for name in names if name in work], rounds, progress)
    services = len(droplet.plan.services)
    return Section(
        "startup",
        f"phased startup from stopped: {services} services in {len(droplet.plan.waves)} waves",
        "s",
        series,
        (
            Target("opsctl", 1.10, "floor", words="at most 1.10 × the floor"),
            Target("opsctl", 0.70, "ansible", words="at most 0.7 × Ansible"),
            Target("opsctl", 1.00, "pyinfra", below=True, words="below pyinfra"),
            Target("opsctl", 0.20, "documents", words="5 times faster than the documents' sleeps"),
        ),
        ("documents: once, it is nearly all sleep",),
        series.failed,
    )


def all_up(droplet: Droplet, work: dict[str, Work], rounds: int, progress: Progress) -> Section:
    """Everything runs and answers already, and must be left as it is."""
    shell("floor.sh", droplet)
    # The SQL after postgres's gate is a step of its own to opsctl: here it has been applied already, for everybody.
    work["opsctl"]()

    def contestant(name: str) -> Contestant:
        def once() -> float:
            before = droplet.seen()
            took = work[name]()
            droplet.verify(before, untouched=True)
            return took

        return Contestant(name, once)

    names = ("docker start", "opsctl", "floor", "pyinfra", "ansible")
    series = in_turn([contestant(name) for name in names if name in work], rounds, progress)
    return Section(
        "all-up",
        "the same when all is up already",
        "s",
        series,
        (
            Target("opsctl", 1.50, "docker start", words="at most 1.5 × the docker start floor"),
            Target("opsctl", 1.00, "floor", below=True, words="below the compose floor"),
            Target("opsctl", 1.00, "pyinfra", below=True, words="below pyinfra"),
            Target("opsctl", 1.00, "ansible", below=True, words="below Ansible"),
        ),
        failed=series.failed,
    )
