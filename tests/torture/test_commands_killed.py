"""deploy, recover and playbooks killed at random points: every rerun ends in the right state, the audit has no hole.

The suite runs a seeded sample of each; OPSCTL_TORTURE_COMMANDS=50 kills each 50 times and keeps what it saw as JSON.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Droplet
from tests.jobs.startup_droplet import DEFAULT, Small, small
from tests.torture.harness import Case, Pace, Record, measure, torture

pytestmark = [pytest.mark.sandbox, pytest.mark.torture]

ROUNDS = int(os.environ.get("OPSCTL_TORTURE_COMMANDS", "1"))
SEED = int(os.environ.get("OPSCTL_TORTURE_SEED", "20261120"))
PLAYBOOK = """version: 1
title: Two services, one after the other
steps:
  - id: first
    title: The first service
    job: {startup: {only: good}}
    probe: [{service: good}]
    undo: {job: {stop: {services: "${started}"}}}
  - id: second
    title: The second phase
    job: {startup: {phase: 2}}
    probe: [{service: good2}]
    undo: {job: {stop: {services: "${started}"}}}
"""
SECOND = DEFAULT.replace("phase: 1", "phase: 2")


def fresh(session_droplet: Droplet, folder: Path) -> Small:
    """The small stack on the session's droplet: two services in two phases."""
    session_droplet.sh("docker ps -aq | xargs -r docker rm -fv >/dev/null 2>&1; rm -rf /var/lib/opsctl")
    stack = small(session_droplet, folder)
    stack.services("good", f"good2: {SECOND}")
    return stack


def delay_of(stack: Small, service: str) -> str:
    """What a service's container was created with; the compose file's value is what a deploy brings."""
    shown = stack.droplet.sh(f"docker inspect -f '{{{{.Config.Env}}}}' t-{service}-1", check=False)
    return shown.partition("START_DELAY=")[2].split(" ")[0].strip("]\n")


def up(stack: Small) -> None:
    assert (stack.state("good"), stack.state("good2")) == ("running", "running")


def deploying(stack: Small) -> Case:
    """Both services get another environment: both are recreated, in phases."""
    number = [0]

    def prepare(_luck: random.Random) -> None:
        number[0] += 1
        started = stack.opsctl("startup")
        assert started.returncode == 0, started.stderr
        stack.droplet.sh(
            'sed -i -E \'/^  good2?:/s/START_DELAY: "[^"]*"/START_DELAY: "0.'
            f"{number[0] + 10}\"/' /opt/t/docker-compose.yml"
        )

    def check() -> None:
        up(stack)
        wanted = f"0.{number[0] + 10}"
        assert (delay_of(stack, "good"), delay_of(stack, "good2")) == (wanted, wanted)
        again = stack.opsctl.json("deploy", "--dry-run")["droplets"][0]["result"]
        doing = [step for step in again["changed"]["plan"]["steps"] if step["action"]["kind"] == "recreate"]
        assert not doing, "a deploy that is done has nothing left to recreate"

    return Case("deploy", ("deploy",), prepare, check, lambda run: ("deploy", "--resume", run))


def recovering(stack: Small) -> Case:
    """One service or both have died."""

    def prepare(luck: random.Random) -> None:
        started = stack.opsctl("startup")
        assert started.returncode == 0, started.stderr
        dead = "t-good-1 t-good2-1" if luck.random() < 0.5 else "t-good-1"
        stack.droplet.sh(f"docker stop -t 1 {dead}")

    return Case("recover", ("recover", "--up-to", "service", "--optimal"), prepare, lambda: up(stack))


def starting(stack: Small) -> Case:
    """A playbook of the stack's own that starts it in two steps."""
    folder = stack.file.parent / "playbooks"
    folder.mkdir(exist_ok=True)
    (folder / "two.yaml").write_text(PLAYBOOK)

    def prepare(luck: random.Random) -> None:
        remove = "docker rm -fv" if luck.random() < 0.3 else "docker stop -t 1"
        stack.droplet.sh(f"docker ps -aq | xargs -r {remove} >/dev/null")

    def resume(run: str) -> tuple[str, ...]:
        return ("playbook", "resume", run)

    return Case("playbook", ("playbook", "run", "two"), prepare, lambda: up(stack), resume)


CASES: dict[str, Callable[[Small], Case]] = {"deploy": deploying, "recover": recovering, "playbook": starting}


@pytest.fixture(scope="module", params=CASES)
def tortured(
    request: pytest.FixtureRequest, session_droplet: Droplet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Case, Small, Pace, Record]]:
    """One command on a droplet of its own making, measured without a kill; its record is written at the end."""
    stack = fresh(session_droplet, tmp_path_factory.mktemp("tortured"))
    case = CASES[request.param](stack)
    pace = measure(case, stack.opsctl, SEED)
    record = Record(case.name, SEED)
    yield case, stack, pace, record
    record.write()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_9_at_a_random_point(tortured: tuple[Case, Small, Pace, Record], number: int) -> None:
    case, stack, pace, record = tortured
    record.kills.append(torture(case, stack.droplet, stack.opsctl, pace=pace, number=number, seed=SEED))
