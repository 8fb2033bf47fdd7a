"""Kills any opsctl command at random points, runs it again, and looks whether all is well: state, lease, audit."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet, Opsctl

LEASE_BOUND = 60.0  # s; what is promised
RESULTS = Path(__file__).parents[2] / "bench" / "results"


@dataclass(frozen=True)
class Case:
    """A command, what it is begun from, and what must hold after the rerun.

    `prepare` brings the droplet to the state before the command, by luck in one of several ways; `check` fails
    unless the droplet is as the command should leave it. The rerun is the command itself, and every second time, where
    the command can, what `resume` says for the id of the run that was killed.
    """

    name: str
    words: tuple[str, ...]
    prepare: Callable[[random.Random], None]
    check: Callable[[], None]
    resume: Callable[[str], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Kill:
    """One kill: after how long, what was said last, and how it went on."""

    number: int
    after: float
    last_line: str
    lease_free_after: float
    rerun: str
    rerun_exit: int
    ended: bool  # it was over before it could be killed


@dataclass
class Record:
    """The kills of one case, written as JSON."""

    case: str
    seed: int
    kills: list[Kill] = field(default_factory=list)

    def write(self) -> None:
        """Into bench/results/torture-<case>.json."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        free = sorted(each.lease_free_after for each in self.kills) or [0.0]
        summary: dict[str, Any] = {
            "seed": self.seed,
            "rounds": len(self.kills),
            "ended_before_the_kill": sum(each.ended for each in self.kills),
            "lease_free_max": free[-1],
            "lease_free_median": free[len(free) // 2],
            "kills": [asdict(each) for each in self.kills],
        }
        (RESULTS / f"torture-{self.case}.json").write_text(json.dumps(summary, indent=2))


def lease_free_after(droplet: Droplet) -> float:
    """Seconds until the lease can be taken; fails after the promised 60."""
    begin = time.monotonic()
    lock = "/var/lib/opsctl/lease/stack.lock"
    while time.monotonic() - begin < LEASE_BOUND:
        if "free" in droplet.sh(f"[ ! -e {lock} ] || flock -n {lock} true && echo free; true"):
            return time.monotonic() - begin
        time.sleep(0.2)
    pytest.fail("the lease of a killed run was still held after 60 s")


def runs(opsctl: Opsctl) -> list[dict[str, Any]]:
    """The audit as its reader gets it: the droplet's and what was done from here."""
    return list(opsctl.json("audit", "--limit", "0")["droplets"][0]["result"]["runs"])


def holes(opsctl: Opsctl) -> list[str]:
    """Runs that have no end in the audit, not even that they were abandoned."""
    return [
        each["run"]
        for each in runs(opsctl)
        if each["outcome"] == "running"
        or (each["outcome"] == "abandoned" and not each["closed_by"] and each["where"] == "droplet")
    ]


@dataclass
class Pace:
    """How long a command says nothing (it loads, connects, plans), and how long it works after that. Seconds."""

    quiet: float
    working: float


class Watched:
    """A command under way, with what it has said so far."""

    def __init__(self, opsctl: Opsctl, words: tuple[str, ...]) -> None:
        self.began = time.monotonic()
        self.process = opsctl.start(*words, start_new_session=True)
        self.said: list[str] = []
        self.out = ""
        self.first = self.began
        self._spoke = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._read, self._drain)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if not self.said:
                self.first = time.monotonic()
                self._spoke.set()
            self.said.append(line)
        self._spoke.set()

    def _drain(self) -> None:
        assert self.process.stdout is not None
        self.out = self.process.stdout.read()

    def until_it_speaks(self) -> None:
        """Or is over."""
        self._spoke.wait(120)

    def runs_for(self, seconds: float) -> bool:
        """Let it run so much longer; False when it is over before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            time.sleep(0.005)
        return self.process.poll() is None

    def over(self) -> int:
        """Wait for its end."""
        code = self.process.wait(300)
        for thread in self._threads:
            thread.join(20)
        return code


def measure(case: Case, opsctl: Opsctl, seed: int) -> Pace:
    """The pace of the whole command, to spread the kills over; what comes out must be right without any kill."""
    case.prepare(random.Random(seed))
    watched = Watched(opsctl, case.words)
    code, end = watched.over(), time.monotonic()
    assert code == 0, f"{case.name} without a kill\n{watched.out}\n{''.join(watched.said)}"
    case.check()
    return Pace(watched.first - watched.began, end - watched.first)


def torture(case: Case, droplet: Droplet, opsctl: Opsctl, *, pace: Pace, number: int, seed: int) -> Kill:
    """Kill it once at a random point, mostly of its work, run it again, and check everything."""
    luck = random.Random(seed + number)
    early, share = luck.random() < 0.15, luck.uniform(0.0, 1.0)
    for _ in range(3):  # what got faster meanwhile is over before it is killed: again, by the new measure
        case.prepare(luck)
        before = {each["run"] for each in runs(opsctl)}
        after, said, ended = _kill(case, opsctl, early, share, pace)
        if not ended:
            break
    free = lease_free_after(droplet)
    words, line = case.words, " ".join(case.words)
    begun = [each for each in runs(opsctl) if each["run"] not in before and not each["under"]]
    ours = [
        each["run"] for each in begun if each["name"] and line.startswith(each["name"]) and each["outcome"] != "done"
    ]
    if case.resume is not None and ours and number % 2:
        words = case.resume(ours[-1])
    done = opsctl(*words)
    context = f"killed after {after:.2f} s, said\n{said}\nrerun {words}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, context
    try:
        case.check()
    except AssertionError as wrong:
        raise AssertionError(f"{wrong}\n{context}") from None
    if holes(opsctl):
        # Killed after its last change: nothing was left to do, so nobody has held the lease since.
        opsctl("lease", "break", "--reason", "the torture test closes it", "--yes")
    assert not holes(opsctl), context
    last = said.strip().splitlines()[-1] if said.strip() else ""
    return Kill(number, round(after, 3), last, round(free, 2), " ".join(words), done.returncode, ended)


def _kill(case: Case, opsctl: Opsctl, early: bool, share: float, pace: Pace) -> tuple[float, str, bool]:
    watched = Watched(opsctl, case.words)
    if early:
        alive = watched.runs_for(share * pace.quiet)
    else:
        watched.until_it_speaks()
        alive = watched.runs_for(share * pace.working)
    after = time.monotonic() - watched.began
    watched.process.kill()
    watched.over()
    if not alive:
        pace.working = min(pace.working, time.monotonic() - watched.first)
    return after, "".join(watched.said), not alive
