"""`opsctl migrate`: a run from its first word to its rollback, watched, paused, stopped and killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Opsctl

PROGRAM = Path(__file__).with_name("files_migration.py")
MANY = 400
WORDS = ("migrate", "files", "--from", "from", "--to", "to")


@dataclass(frozen=True)
class WithFiles(Opsctl):
    """opsctl with the migration `files` in it."""

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, str(PROGRAM), *words]


@dataclass(frozen=True)
class Place:
    """A folder to move, and where its runs are kept."""

    opsctl: WithFiles
    root: Path

    @property
    def source(self) -> dict[str, str]:
        return {each.name: each.read_text() for each in (self.root / "from").iterdir()}

    @property
    def sink(self) -> dict[str, str]:
        folder = self.root / "to"
        return {each.name: each.read_text() for each in folder.iterdir()} if folder.exists() else {}

    @property
    def runs(self) -> Path:
        return self.root / "state/opsctl/migrations"

    def fill(self, count: int) -> dict[str, str]:
        for number in range(count):
            (self.root / "from" / f"k{number}").write_text(f"item {number}")
        return {f"k{number}": f"ITEM {number}" for number in range(count)}

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.opsctl.json("migrate", "status", "last")["droplets"][0]["result"]["runs"][0]
        return found

    def until(self, process: subprocess.Popen[str], wanted: Any) -> dict[str, Any]:
        """What the run says once `wanted` holds of it."""
        for _ in range(200):
            assert process.poll() is None, process.communicate()
            if any(self.runs.glob("*/progress.json")):
                seen = self.status()
                if wanted(seen):
                    return seen
            time.sleep(0.1)
        pytest.fail("it never came to that")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "from").mkdir()
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "COLUMNS": "80"}
    return Place(WithFiles(environment, tmp_path), tmp_path)


@pytest.fixture
def slow(place: Place) -> Iterator[subprocess.Popen[str]]:
    """A run that takes its time and has begun."""
    place.fill(MANY)
    slowly = WithFiles({**place.opsctl.environment, "FILES_DELAY": "0.03"}, place.root)
    process = slowly.start(*WORDS, "--batch", "2", "--workers", "1")
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def some(seen: dict[str, Any]) -> bool:
    return bool(seen["progress"] and seen["progress"]["counts"]["verified"] > 5)


def test_a_dry_run_leaves_nothing_behind(place: Place) -> None:
    place.fill(3)
    done = place.opsctl(*WORDS, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "nothing was written" in done.stdout
    assert not place.sink
    assert not (place.root / "state").exists()


def test_copy_then_finish_then_rollback(place: Place) -> None:
    wanted = place.fill(20)
    before = place.source
    done = place.opsctl(*WORDS)
    assert done.returncode == 0, done.stderr
    assert "the same on both sides" in done.stdout
    assert (place.source, place.sink) == (before, wanted)
    (place.root / "from/k7").write_text("another by now")

    refused = place.opsctl("migrate", "finish", "last")
    assert (refused.returncode, place.source.keys()) == (2, before.keys())
    assert "20 records" in refused.stderr
    assert "opsctl migrate finish last --yes" in refused.stderr

    finished = place.opsctl.json("migrate", "finish", "last", "--yes")
    assert finished["exit_code"] == 0
    receipt = finished["droplets"][0]["result"]["receipt"]
    assert (receipt["outcome"], receipt["counts"]["removed"], receipt["counts"]["changed"]) == ("finished", 19, 1)
    assert place.source == {"k7": "another by now"}
    assert "nothing was left to delete" not in finished["droplets"][0]["result"]["receipt"]["notes"]

    assert place.opsctl("migrate", "rollback", "last", "--yes").returncode == 0
    assert place.source == {**before, "k7": "another by now"}
    assert not place.sink
    again = place.opsctl("migrate", "resume", "last")
    assert again.returncode == 2
    assert "opsctl migrate files --from from --to to" in again.stderr


def test_delete_asks_and_does_both(place: Place) -> None:
    wanted = place.fill(5)
    assert place.opsctl(*WORDS, "--delete").returncode == 2
    assert len(place.source) == 5
    assert place.opsctl(*WORDS, "--delete", "--yes").returncode == 0
    assert (place.source, place.sink) == ({}, wanted)
    again = place.opsctl("migrate", "finish", "last", "--yes")
    assert again.returncode == 0
    assert "nothing was left to delete" in again.stdout


def test_what_is_refused_is_partly_done_and_can_be_tried_again(place: Place) -> None:
    place.fill(3)
    (place.root / "from/bad").write_bytes(b"\xff")
    done = place.opsctl.json(*WORDS)
    assert done["exit_code"] == 5
    run = done["run_id"]
    assert f"opsctl migrate replay {run}" in done["droplets"][0]["result"]["next"]
    (place.root / "from/bad").write_text("good")
    replayed = place.opsctl.json("migrate", "replay", run[:20])
    assert (replayed["exit_code"], replayed["schema"]) == (0, "opsctl.migrate.replay/1")
    assert place.sink["bad"] == "GOOD"


def test_with_nothing_in_quarantine_the_run_stays_what_it_was(place: Place) -> None:
    place.fill(3)
    run = place.opsctl.json(*WORDS)["run_id"]
    before = place.status()
    refused = place.opsctl("migrate", "replay", run)
    assert refused.returncode == 2
    assert f"nothing of {run} is in quarantine" in refused.stderr
    assert place.status() == before
    assert before["state"] == "complete"


def test_another_pace_takes_the_place_of_the_one_before(place: Place) -> None:
    place.fill(3)
    run = place.opsctl.json(*WORDS, "--rate", "500", "--batch", "2")["run_id"]
    assert place.opsctl("migrate", "resume", run, "--rate", "700").returncode == 0
    kept = json.loads((place.runs / run / "run.json").read_text())
    assert kept["argv"] == [*WORDS, "--batch", "2", "--json", "--rate", "700"]


def test_a_source_without_anything_says_so(place: Place) -> None:
    done = place.opsctl(*WORDS)
    assert done.returncode == 0
    assert "scanned       0" in done.stdout
    assert "the source has nothing of what was asked for" in done.stdout


def test_what_a_run_keeps_is_private_and_can_be_read_again(place: Place) -> None:
    place.fill(3)
    run = place.opsctl.json(*WORDS)["run_id"]
    for path in (place.runs, *place.runs.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    kept = json.loads((place.runs / run / "run.json").read_text())
    assert (kept["argv"], kept["pid"]) == ([*WORDS, "--json"], 0)
    receipt = place.opsctl.json("migrate", "receipt", run)["droplets"][0]["result"]
    assert receipt == json.loads((place.runs / run / "receipt.json").read_text())
    listed = place.opsctl("migrate", "list")
    assert f"{run}  files" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80


@pytest.mark.parametrize("words", [WORDS, ("migrate", "resume", "last"), ("migrate", "finish", "last", "--yes")])
def test_ctrl_c_before_a_store_answers_says_how_to_go_on(place: Place, words: tuple[str, ...]) -> None:
    place.fill(3)
    run = place.opsctl.json(*WORDS)["run_id"]
    asked = place.root / "asked"
    silent = WithFiles({**place.opsctl.environment, "FILES_SILENT": str(asked)}, place.root)
    process = silent.start(*words)
    for _ in range(300):
        if asked.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    going_on = " ".join(["opsctl", *words]) if words == WORDS else f"opsctl migrate {words[1]} {run}"
    assert said.splitlines()[-1] == f"  next {going_on}"
    assert "  why  noth" in said
    assert place.status()["receipt"]["outcome"] == "complete"


def test_a_second_run_says_who_is_at_it(place: Place, slow: subprocess.Popen[str]) -> None:
    run = place.until(slow, some)["run_id"]
    second = place.opsctl(*WORDS)
    assert second.returncode == 6
    assert run in second.stderr
    assert f"process {slow.pid}" in second.stderr
    assert "--batch 2" in second.stderr
    assert len(list(place.runs.glob("*/run.json"))) == 1


def test_pause_and_resume(place: Place, slow: subprocess.Popen[str]) -> None:
    place.until(slow, some)
    assert place.opsctl("migrate", "pause", "last").returncode == 0
    place.until(slow, lambda seen: seen["progress"] and seen["progress"]["state"] == "paused")
    assert place.opsctl("migrate", "finish", "last", "--yes").returncode == 2
    told = place.opsctl.json("migrate", "resume", "last")
    assert told["droplets"][0]["result"]["told"] == "run"
    place.until(slow, lambda seen: seen["state"] == "running")


def test_ctrl_c_says_how_to_go_on_and_that_works(place: Place, slow: subprocess.Popen[str]) -> None:
    run = place.until(slow, some)["run_id"]
    slow.send_signal(signal.SIGINT)
    _, said = slow.communicate(timeout=60)
    assert slow.returncode == 130, said
    assert f"opsctl migrate resume {run}" in said
    stopped = place.status()
    assert (stopped["state"], stopped["receipt"]["outcome"]) == ("stopped", "stopped")
    assert place.opsctl("migrate", "finish", "last", "--yes").returncode == 2
    done = place.opsctl("migrate", "resume", "last")
    assert done.returncode == 0, done.stderr
    assert place.sink.keys() == place.source.keys()
    assert place.opsctl.json("migrate", "receipt", run)["droplets"][0]["result"]["verified_total"] == MANY


def test_a_killed_run_is_interrupted_and_goes_on_from_anywhere(
    place: Place, slow: subprocess.Popen[str], tmp_path: Path
) -> None:
    run = place.until(slow, some)["run_id"]
    os.kill(slow.pid, signal.SIGKILL)
    slow.wait(timeout=30)
    assert f"interrupted: opsctl migrate resume {run}" in place.opsctl("migrate", "status").stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = WithFiles(place.opsctl.environment, elsewhere).json("migrate", "resume", run)
    assert done["exit_code"] == 0
    counts = done["droplets"][0]["result"]["receipt"]["counts"]
    assert counts["unchanged"] > 0
    assert counts["unchanged"] + counts["verified"] == MANY
    assert place.sink.keys() == place.source.keys()


def test_attach_ends_as_the_run_does(place: Place, slow: subprocess.Popen[str]) -> None:
    run = place.until(slow, some)["run_id"]
    watching = place.opsctl.start("migrate", "attach", run)
    try:
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith("running: ")
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=30)
    finally:
        watching.kill()
    assert watching.returncode == 130
    assert f"opsctl migrate attach {run}" in said
    assert slow.poll() is None
    slow.send_signal(signal.SIGTERM)
    slow.communicate(timeout=60)
    assert slow.returncode == 143
    assert place.opsctl("migrate", "attach", run).returncode == 130


@pytest.mark.parametrize("run", ["2026", "last", ""])
def test_a_run_that_there_is_not(place: Place, run: str) -> None:
    done = place.opsctl("migrate", "status", run)
    assert done.returncode == 2
    assert "no migration has run" in done.stderr


@pytest.mark.parametrize("window", ["1-2", "25:00-26:00", "01:00", "01:00-01:00", "night"])
def test_a_window_that_is_none(place: Place, window: str) -> None:
    done = place.opsctl(*WORDS, "--window", window)
    assert done.returncode == 2
    assert "--window 01:00-06:00" in done.stderr
