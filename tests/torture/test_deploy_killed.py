"""deploy --push and rollback killed at random points: files, containers, releases and audit are right after the rerun.

The suite runs a seeded sample of each; OPSCTL_TORTURE_COMMANDS=50 kills each 50 times and keeps what it saw as JSON.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest
from tests.conftest import Droplet
from tests.jobs.deploy_project import COMPOSE, WHERE, Project, project, result
from tests.torture.harness import Case, Pace, Record, measure, torture

pytestmark = [pytest.mark.sandbox, pytest.mark.torture]

ROUNDS = int(os.environ.get("OPSCTL_TORTURE_COMMANDS", "1"))
SEED = int(os.environ.get("OPSCTL_TORTURE_SEED", "20261120"))


def written(made: Project, number: int) -> None:
    """New files here: both services differ, and the file that one of them has mounted."""
    compose = COMPOSE.replace("64M", f"{64 + number}M").replace('"7001"', f'"7001", --hz, "{number}"')
    made.write(compose, env=f"KEY={number}\n", conf=f"{number}\n")


def right(made: Project, number: int) -> None:
    """The droplet is as the files of this number say, and one release is in force."""
    sh = made.droplet.sh
    assert made.droplet.running() == {"store", "app"}
    assert f"{64 + number}M" in sh(f"cat {WHERE}/docker-compose.yml")
    assert sh(f"cat {WHERE}/conf/app.conf; docker exec mini-store-1 cat /conf/app.conf") == f"{number}\n{number}\n"
    assert f"hz {number}" in " ".join(sh("docker inspect -f '{{.Args}}' mini-app-1").replace("--", "").split())
    assert not sh(f"find {WHERE} /dev/shm -name '*opsctl*'").strip(), "a half-written file was left"
    names = sh("docker ps -a --format '{{.Names}}'").split()
    assert sorted(names) == ["mini-app-1", "mini-store-1"], "a container was left half renamed"
    listed = result(made.opsctl.json("releases", "list"))["releases"]
    assert [each["status"] for each in listed if each["current"]] == ["done"]
    made.stable()


def pushing(made: Project) -> Case:
    number = [1]

    def prepare(_luck: random.Random) -> None:
        written(made, number[0])
        done = made.opsctl("deploy", "--push", str(made.here))
        assert done.returncode == 0, done.stderr
        number[0] += 1
        written(made, number[0])

    def check() -> None:
        right(made, number[0])
        again = result(made.deploy("--dry-run"))
        assert not again["files"] and not again["services"], "a deploy that is done has nothing left to do"

    words = ("deploy", "--push", str(made.here))
    return Case("deploy-push", words, prepare, check, lambda run: (*words, "--resume", run))


def going_back(made: Project) -> Case:
    number, target = [1], [""]

    def prepare(_luck: random.Random) -> None:
        number[0] += 1
        for each in (number[0], number[0] + 50):
            written(made, each)
            done = made.opsctl("deploy", "--push", str(made.here), "--remove-keys")
            assert done.returncode == 0, done.stderr
        listed = result(made.opsctl.json("releases", "list"))["releases"]
        target[0] = listed[1]["id"]

    def check() -> None:
        listed = result(made.opsctl.json("releases", "list"))["releases"]
        current = next(each for each in listed if each["current"])["id"]
        # Killed after its end, the rerun goes back one further: that is what was asked for, twice.
        assert current <= target[0], "it did not go back"
        if current == target[0]:
            right(made, number[0])

    return Case("rollback", ("rollback",), prepare, check, lambda run: ("rollback", "--resume", run))


CASES: dict[str, Callable[[Project], Case]] = {"push": pushing, "rollback": going_back}


@pytest.fixture(scope="module", params=CASES)
def tortured(
    request: pytest.FixtureRequest, session_droplet: Droplet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Case, Project, Pace, Record]]:
    """One command on the small project, measured without a kill; its record is written at the end."""
    with project(session_droplet, tmp_path_factory.mktemp("tortured")) as made:
        case = CASES[request.param](made)
        pace = measure(case, made.opsctl, SEED)
        record = Record(case.name, SEED)
        yield case, made, pace, record
        record.write()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_9_at_a_random_point(tortured: tuple[Case, Project, Pace, Record], number: int) -> None:
    case, made, pace, record = tortured
    record.kills.append(torture(case, made.droplet, made.opsctl, pace=pace, number=number, seed=SEED))
