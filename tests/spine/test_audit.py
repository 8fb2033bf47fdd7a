"""Begin and end lines in one file on the droplet."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from opsctl.spine import audit


def entry() -> audit.Entry:
    return audit.Entry(
        "r1", "opsctl startup --phase 2", "abc", audit.Actor("ann", "laptop"), "2026-01-01T00:00:00Z", "1"
    )


def append(folder: Path, *lines: str) -> int:
    script = audit.append(str(folder), lines)
    return subprocess.run(["bash", "-c", script.text, "bash", *script.args], check=False).returncode


def test_begin_and_end_are_json_lines_with_the_hosts_clock(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    line = audit.end("r1", outcome="failed", exit_code=7, seconds=1.234, detail='a "quoted"\nword')
    assert append(folder, audit.begin(entry()), line) == 0
    begin, end = (json.loads(each) for each in (folder / "audit.jsonl").read_text().splitlines())
    assert (begin["event"], begin["user"], begin["from"], begin["plan"]) == ("begin", "ann", "laptop", "abc")
    assert (end["event"], end["outcome"], end["exit_code"], end["seconds"]) == ("end", "failed", 7, 1.23)
    assert end["detail"] == 'a "quoted"\nword'
    assert begin["at"].endswith("Z") and len(begin["boot"]) == 36


def test_an_abandoned_run_is_closed_by_the_next(tmp_path: Path) -> None:
    line = audit.abandoned({"run": "r0", "user": "bob", "command": "opsctl stop"}, "r1")
    assert append(tmp_path, line) == 0
    written = json.loads((tmp_path / "audit.jsonl").read_text())
    assert (written["run"], written["outcome"], written["closed_by"]) == ("r0", "abandoned", "r1")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert append(tmp_path / "file", audit.begin(entry())) == 87


def test_the_holder_tells_who_and_from_where() -> None:
    assert entry().holder()["user"] == "ann" and entry().holder()["command"] == "opsctl startup --phase 2"
    assert audit.Actor.current().user


def test_the_newest_journals_are_kept(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    for number in range(503):
        (runs / f"20260101T{number:06}-aaaaaa.jsonl").write_text("")
    script = audit.append(str(tmp_path), (), journal="20260101T999999-aaaaaa", line=audit.rest_of({"event": "over"}))
    assert subprocess.run(["bash", "-c", script.text, "bash", *script.args], check=False).returncode == 0
    left = sorted(each.name for each in runs.iterdir())
    assert len(left) == 500
    assert (left[0], left[-1]) == ("20260101T000004-aaaaaa.jsonl", "20260101T999999-aaaaaa.jsonl")
