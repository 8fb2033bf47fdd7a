"""opsctl killed, interrupted or cut off while it starts a stack: nothing stays behind, and the next run goes on.

The suite runs a seeded sample; `nox -s torture` runs OPSCTL_TORTURE kills and keeps what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from tests.conftest import Droplet
from tests.torture.harness import lease_free_after

pytestmark = [pytest.mark.sandbox, pytest.mark.torture]

ROUNDS = int(os.environ.get("OPSCTL_TORTURE", "5"))
SEED = int(os.environ.get("OPSCTL_TORTURE_SEED", "20261120"))
WANTED = {"postgres", "redis", "gateway-mcp", "orchestrator"}
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "torture-startup.json"

# What a run says on stderr when it has come so far.
STAGES = {
    "first-phase": r"^phase 1",
    "first-wait": r"^  … ",
    "first-gate": r"✓ redis",
    "then-step": r"✓ postgres +applied",
    "second-phase": r"^phase 2",
    "last-wait": r"… orchestrator",
}


@dataclass(frozen=True)
class Round:
    """One kill: after how long, how far it had come, and what the droplet looked like afterwards."""

    number: int
    after: float
    last_line: str
    created_before: bool
    lease_free_after: float
    rerun_exit: int
    ended: bool


def stop_all(droplet: Droplet, *, remove: bool) -> None:
    """Every service stopped, or its container gone."""
    verb = "docker rm -fv" if remove else "docker stop -t 1"
    droplet.sh(f"docker ps -a{'q' if remove else ' -q --filter status=running'} | xargs -r {verb} >/dev/null")


def holes(droplet: Droplet) -> set[str]:
    """Runs that begin in the audit and never end, abandoned ones included."""
    lines = [json.loads(line) for line in droplet.sh("cat /var/lib/opsctl/audit.jsonl 2>/dev/null; true").splitlines()]
    begun = {line["run"] for line in lines if line["event"] == "begin"}
    return begun - {line["run"] for line in lines if line["event"] == "end"}


def container_ids(droplet: Droplet) -> set[str]:
    """All containers there are."""
    return set(droplet.sh("docker ps -aq --no-trunc").split())


def assert_goes_on(droplet: Droplet, before: set[str]) -> int:
    """The next run ends in the right state, recreates nothing, and closes what was abandoned."""
    done = droplet.opsctl("startup", "--phase", "2")
    assert done.returncode == 0, done.stderr
    assert droplet.running() == WANTED
    assert before <= container_ids(droplet), "a container was recreated"
    again = droplet.opsctl.json("startup", "--phase", "2")["droplets"][0]["result"]
    assert {step["outcome"] for step in again["services"]} == {"unchanged"}
    if holes(droplet):
        # Killed after its last step: nothing was left to do, so nobody has held the lease since.
        assert droplet.opsctl("restart", "redis").returncode == 0
    assert not holes(droplet)
    return done.returncode


@pytest.fixture(scope="module")
def whole(session_droplet: Droplet) -> list[float]:
    """Seconds of a start from stopped, to spread the kills over; a round that sees a shorter one notes it."""
    assert session_droplet.opsctl("startup", "--phase", "2").returncode == 0
    stop_all(session_droplet, remove=False)
    begin = time.monotonic()
    assert session_droplet.opsctl("startup", "--phase", "2").returncode == 0
    return [time.monotonic() - begin]


@pytest.fixture(scope="module")
def record() -> Iterator[list[Round]]:
    """The rounds, kept as JSON at the end."""
    rounds: list[Round] = []
    yield rounds
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    free = sorted(each.lease_free_after for each in rounds) or [0.0]
    summary = {
        "seed": SEED,
        "rounds": len(rounds),
        "lease_free_max": free[-1],
        "lease_free_median": free[len(free) // 2],
    }
    RESULTS.write_text(json.dumps({**summary, "kills": [asdict(each) for each in rounds]}, indent=2))


def killed(droplet: Droplet, share: float, whole: list[float], *, remove: bool) -> tuple[set[str], float, str, bool]:
    """Kill a start after a share of its time: containers before, seconds, what it had said, whether it was over."""
    stop_all(droplet, remove=remove)
    before = container_ids(droplet)
    begin = time.monotonic()
    process = droplet.opsctl.start("startup", "--phase", "2", start_new_session=True)
    ended = False
    while not ended and time.monotonic() - begin < share * whole[0]:
        time.sleep(0.01)
        ended = process.poll() is not None
    after = time.monotonic() - begin
    process.kill()
    _, said = process.communicate(timeout=10)
    if ended:
        whole[0] = after
    return before, after, said, ended


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_9_at_a_random_point(
    session_droplet: Droplet, whole: list[float], record: list[Round], number: int
) -> None:
    luck = random.Random(SEED + number)
    remove, share = luck.random() < 0.3, luck.uniform(0.02, 1.0)
    for _ in range(4):  # a machine that got faster meanwhile is over before it is killed: again, by the new measure
        before, after, said, ended = killed(session_droplet, share, whole, remove=remove)
        if not ended:
            break
    free = lease_free_after(session_droplet)
    code = assert_goes_on(session_droplet, before)
    last = said.strip().splitlines()[-1] if said.strip() else ""
    record.append(Round(number, round(after, 3), last, not remove, round(free, 2), code, ended))


def signal_at(process: subprocess.Popen[str], stage: str, signum: int) -> str:
    """Send a signal when stderr shows that a stage is reached; everything that was said."""
    said: list[str] = []
    assert process.stderr is not None
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        for line in process.stderr:
            said.append(line)
            if re.search(STAGES[stage], line):
                process.send_signal(signum)
                break
        said.extend(process.stderr)
    finally:
        watchdog.cancel()
    process.wait(30)
    return "".join(said)


@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_at_every_named_point(session_droplet: Droplet, stage: str) -> None:
    stop_all(session_droplet, remove=stage == "first-phase")
    before = container_ids(session_droplet)
    said = signal_at(session_droplet.opsctl.start("startup", "--phase", "2"), stage, signal.SIGKILL)
    assert re.search(STAGES[stage], said, re.MULTILINE), said
    lease_free_after(session_droplet)
    assert_goes_on(session_droplet, before)


@pytest.mark.parametrize(
    ("stage", "signum", "code"),
    [
        ("first-phase", signal.SIGINT, 130),
        ("first-wait", signal.SIGTERM, 143),
        ("then-step", signal.SIGINT, 130),
        ("last-wait", signal.SIGHUP, 129),
    ],
)
def test_a_signal_ends_it_cleanly_at_any_stage(
    session_droplet: Droplet, stage: str, signum: signal.Signals, code: int
) -> None:
    stop_all(session_droplet, remove=False)
    before = container_ids(session_droplet)
    process = session_droplet.opsctl.start("startup", "--phase", "2")
    said = signal_at(process, stage, signum)
    assert process.returncode == code, said
    assert "opsctl startup" in said, "the message says how to go on"
    assert "Traceback" not in said
    assert lease_free_after(session_droplet) < 5
    assert not holes(session_droplet), "a run that ended cleanly closes its own audit entry"
    assert_goes_on(session_droplet, before)


@pytest.mark.parametrize("stage", ["first-wait", "last-wait"])
def test_a_cut_connection_is_unreachable_and_the_next_run_goes_on(session_droplet: Droplet, stage: str) -> None:
    stop_all(session_droplet, remove=False)
    before = container_ids(session_droplet)
    process = session_droplet.opsctl.start("startup", "--phase", "2")
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if re.search(STAGES[stage], line):
            # Every session of sshd but the one that runs this script: the connection breaks under opsctl.
            own = 'own=$(ps -o ppid= -p $PPID | tr -d " "); pgrep -f "^sshd-session: " | grep -vx -e $PPID -e $own'
            session_droplet.sh(f"{own} | xargs -r kill -9; true")
            break
    said += process.stderr.read()
    assert process.wait(60) == 4, said
    lease_free_after(session_droplet)
    assert_goes_on(session_droplet, before)
