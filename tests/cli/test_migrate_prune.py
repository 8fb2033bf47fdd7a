"""`opsctl migrate prune`: old runs go, and nothing that somebody may need still."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cli.test_migrate_command import WORDS, Place, place, slow, some

__all__ = ["place", "slow"]  # fixtures


def run(place: Place, *words: str) -> str:
    return str(place.opsctl.json(*WORDS, *words)["run_id"])


def aged(place: Place, run_id: str, days: float) -> None:
    """The run as it would be had it ended so many days ago."""
    then = datetime.now(UTC) - timedelta(days=days)
    for path in (place.runs / run_id).glob("receipt*.json"):
        told = {**json.loads(path.read_text()), "ended": f"{then:%Y-%m-%dT%H:%M:%SZ}"}
        path.write_text(json.dumps(told))
    for path in (*(place.runs / run_id).iterdir(), place.runs / run_id):
        os.utime(path, (then.timestamp(), then.timestamp()))


def prune(place: Place, *words: str) -> tuple[set[str], dict[str, str]]:
    """What went, and what stayed with the reason."""
    done = place.opsctl.json("migrate", "prune", *words)
    found: dict[str, Any] = done["droplets"][0]["result"]
    return {each["name"] for each in found["removed"]}, {each["name"]: each["why"] for each in found["kept"]}


def test_what_a_later_copy_replaced_goes_when_it_is_old_and_the_plan_says_how_much(place: Place) -> None:
    place.fill(20)
    first, second = run(place), run(place)
    assert prune(place)[0] == set(), "both are of today"
    aged(place, first, 31)
    aged(place, second, 31)
    before = {each.name for each in place.runs.iterdir()}
    shown = place.opsctl("migrate", "prune", "--dry-run")
    assert f"would go  {first}" in shown.stdout and "would be freed" in shown.stdout
    assert f"nobody has finished it: opsctl migrate finish {second}\n" in shown.stdout, "whole, and on one line"
    asked = place.opsctl("migrate", "prune")
    assert (asked.returncode, "Remove 1 run with its export" in asked.stderr) == (2, True), asked.stderr
    assert {each.name for each in place.runs.iterdir()} == before
    size = sum(each.lstat().st_size for each in (place.runs / first).iterdir())
    done = place.opsctl.json("migrate", "prune", "--yes")["droplets"][0]["result"]
    assert ([each["name"] for each in done["removed"]], done["freed"], done["dry_run"]) == ([first], size, False)
    assert {each.name for each in place.runs.iterdir()} == before - {first}
    audit = place.opsctl("audit", "-d", "local")
    assert "migrate prune --yes" in audit.stdout
    assert place.opsctl("migrate", "finish", second, "--yes").returncode == 0, "the ledger has what the first one did"
    assert not place.source


def test_a_finish_is_kept_for_as_long_as_its_way_back_is_promised(place: Place) -> None:
    place.fill(3)
    finished = run(place, "--delete", "--yes")
    aged(place, finished, 6)
    gone, kept = prune(place, "--keep-days", "7", "--yes")
    assert not gone and "the way back" in kept[finished]
    aged(place, finished, 8)
    assert prune(place, "--keep-days", "7", "--yes") == ({finished}, {})


def test_what_is_in_quarantine_is_kept_until_it_was_taken(place: Place) -> None:
    place.fill(3)
    (place.root / "from/bad").write_bytes(b"\xff")
    refused = run(place)
    run(place)
    aged(place, refused, 99)
    gone, kept = prune(place, "--keep-days", "7", "--yes")
    assert not gone and kept[refused] == f"1 in quarantine: opsctl migrate replay {refused}"
    (place.root / "from/bad").write_text("good")
    assert place.opsctl("migrate", "replay", refused).returncode == 0
    aged(place, refused, 99)
    assert prune(place, "--keep-days", "7", "--yes")[0] == {refused}


def test_a_run_that_works_or_was_cut_short_is_kept(place: Place, slow: subprocess.Popen[str]) -> None:
    working = place.until(slow, some)["run_id"]
    assert prune(place, "--keep-days", "0", "--yes") == (set(), {working: "it works now"})
    slow.send_signal(signal.SIGKILL)
    slow.wait(30)
    aged(place, working, 99)
    gone, kept = prune(place, "--keep-days", "0", "--yes")
    assert not gone and f"resume {working}" in kept[working]
    assert place.opsctl("migrate", "resume", working).returncode == 0


def test_a_run_that_somebody_goes_on_with_meanwhile_is_kept(place: Place) -> None:
    place.fill(3)
    first, second = run(place), run(place)
    slowly = type(place.opsctl)({**place.opsctl.environment, "FILES_DELAY": "0.2"}, place.root)
    for number in range(50):
        (place.root / "from" / f"k{number}").write_text(f"another {number}")
    aged(place, first, 31)
    process = slowly.start(*WORDS, "--batch", "1")
    try:
        for _ in range(300):
            if len(list(place.runs.glob("*/run.json"))) == 3:
                break
            time.sleep(0.1)
        gone, kept = prune(place, "--yes")
        assert not gone and "being moved" in kept[first], "its ledger is held"
        assert kept.keys() >= {second}
    finally:
        process.kill()
        process.communicate()


def test_what_never_began_and_what_a_kill_left_half_removed_go_too(place: Place) -> None:
    place.fill(1)
    run(place)
    for name, text in (("20200101T000000-abcdef", "opsctl.yaml"), (".20200101T000000-fedcba.pruned", "export.jsonl")):
        (place.runs / name).mkdir()
        (place.runs / name / text).write_text("x")
    other = place.runs / "somebody's"
    other.mkdir()
    aged(place, "20200101T000000-abcdef", 31)
    assert prune(place, "--yes")[0] == {"20200101T000000-abcdef"}
    assert not (place.runs / ".20200101T000000-fedcba.pruned").exists()
    assert other.exists()
