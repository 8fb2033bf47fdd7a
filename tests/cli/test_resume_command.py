"""A run that was cut short is gone on with, by the very command that its failure names."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet, Opsctl
from tests.jobs.startup_droplet import DEFAULT, Small, small

pytestmark = pytest.mark.sandbox


@pytest.fixture
def stack(droplet: Droplet, tmp_path: Path) -> Small:
    return small(droplet, tmp_path)


def last_line(text: str) -> list[str]:
    """The command in the last line of an error, as it can be typed."""
    line = text.strip().splitlines()[-1].removeprefix("  next").strip()
    assert line.startswith("opsctl "), text
    return shlex.split(line, comments=True)[1:]


def test_a_failed_run_goes_on_from_its_failed_step(stack: Small) -> None:
    stack.services("good", "slow: " + DEFAULT.replace("phase: 1", "phase: 2").replace("20s", "1s"))
    failed = stack.opsctl("startup", "--phase", "2")
    assert failed.returncode == 7, failed.stderr
    words = last_line(failed.stderr)
    assert words[:4] == ["startup", "--phase", "2", "--resume"]
    looked = stack.opsctl(*words, "--dry-run")
    assert f"resumes run {words[4]}" in looked.stdout and "goes on with: start slow" in looked.stdout
    again = stack.opsctl(*words)
    assert again.returncode == 7
    assert f"resumes run {words[4]}" in again.stderr and "root from" in again.stderr
    assert last_line(again.stderr)[4] != words[4]  # what goes on from here is this run
    # Mended: what is left is done, and the last unfinished run is the one that is meant.
    stack.services("good", "good2: " + DEFAULT.replace("phase: 1", "phase: 2"))
    done = stack.opsctl("startup", "--phase", "2", "--resume", "--json")
    assert done.returncode == 0 and f"resumes run {last_line(again.stderr)[4]}" in done.stdout
    nothing = stack.opsctl("startup", "--phase", "2", "--resume")
    assert nothing.returncode == 2 and "nothing to resume" in nothing.stderr
    assert last_line(nothing.stderr) == ["startup", "--phase", "2"]


def test_a_killed_run_is_compared_with_what_is_there(stack: Small) -> None:
    stack.services("good", "slow: " + DEFAULT.replace("phase: 1", "phase: 2").replace("20s", "300s"))
    process = stack.opsctl.start("startup", "--phase", "2")
    assert process.stderr is not None
    for line in process.stderr:
        if "… slow" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    other = stack.opsctl("startup", "--phase", "1", "--resume")
    assert other.returncode == 2 and "called with other options" in other.stderr
    words = last_line(other.stderr)
    assert words[:4] == ["startup", "--phase", "2", "--resume"]
    stack.droplet.sh("docker stop -t 1 t-good-1")
    bare = stack.opsctl("startup", "--resume", "--dry-run")
    assert f"goes on with  opsctl startup --phase 2 --dry-run --resume {words[4]}" in bare.stderr
    another = stack.opsctl("stop", "--yes", "--resume", words[4])
    assert another.returncode == 2 and "was `opsctl startup`, not `opsctl stop`" in another.stderr
    looked = stack.opsctl(*words, "--dry-run")
    assert "abandoned" in looked.stdout and "done then, and not so any more: start good" in looked.stdout
    unknown = stack.opsctl("startup", "--phase", "2", "--resume", "20200101T000000-abcdef")
    assert unknown.returncode == 2 and "has no run 20200101T000000-abcdef" in unknown.stderr
    stack.services("good", "good2: " + DEFAULT.replace("phase: 1", "phase: 2"))
    assert stack.opsctl(*words).returncode == 0 and stack.state("good") == "running"
    over = stack.opsctl(*words)
    assert over.returncode == 0 and "everything is done" in over.stderr


def test_an_interrupt_says_how_to_go_on(stack: Small) -> None:
    stack.services("good", "later: " + DEFAULT.replace("phase: 1", "phase: 2"))
    process = stack.opsctl.start("startup")
    assert process.stderr is not None
    for line in process.stderr:
        if "phase 2" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    words = last_line(err)
    assert words[:2] == ["startup", "--resume"]
    done = stack.opsctl(*words)
    assert done.returncode == 0 and "interrupted, begun" in done.stderr
    assert (stack.state("good"), stack.state("later")) == ("running", "running")


def test_a_wait_that_is_no_time_is_said_before_anything_is_connected(opsctl: Opsctl) -> None:
    done = opsctl("startup", "--wait", "soon", "-d", "root@127.0.0.1:9")
    assert done.returncode == 2 and "--wait: 'soon'" in done.stderr


# What changes nothing on a droplet that a lease protects: this machine's files, the provider's side, the lease itself.
NO_LEASE = {
    "dashboards export",
    "droplet dns restore",
    "droplet dns set",
    "droplet power-on",
    "droplet snapshot",
    "init",
    "lease break",
    "collections apply",
    "collections close-day",
}
# Hours of work under the lease of a store (`data:…`): whoever comes second is told who has it, and does not wait.
STORES = {
    "migrate dragonfly-to-weaviate",
    "migrate finish",
    "migrate prune",
    "migrate qdrant-to-cloud",
    "migrate redis-to-managed",
    "migrate redis-to-postgres",
    "migrate rollback",
    "migrate state-to-redis",
}


def test_every_command_that_changes_a_droplet_can_wait() -> None:
    import typer.main

    from opsctl.cli.main import build

    def leaves(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
        for word, each in getattr(command, "commands", {}).items():
            yield from leaves(each, f"{name} {word}".strip())
        if not hasattr(command, "commands"):
            yield name, {each.name for each in command.params}

    found = dict(leaves(typer.main.get_command(build((), everything=True)), ""))
    assert set(found) >= NO_LEASE | STORES, "every name here is a command"
    changing = {name for name, options in found.items() if "dry_run" in options} - NO_LEASE - STORES
    assert {name for name in changing if "wait" not in found[name]} == set()
    assert {"startup", "stop", "restart", "deploy", "rollback"} <= {n for n in changing if "resume" in found[n]}
