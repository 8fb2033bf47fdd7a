"""What was done to a droplet from here while it was away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsctl.model.errors import StepFailed
from opsctl.spine import local_audit
from opsctl.spine.audit import Actor, Entry

ENTRY = Entry("r1", "opsctl recover", "plan", Actor("ann", "laptop"), "2026-01-01T00:00:00Z", "1")


def test_begin_and_end_are_kept_by_droplet(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    local_audit.begin(ENTRY, "agents", folder=folder)
    local_audit.begin(ENTRY, "other", folder=folder)
    local_audit.end("r1", "agents", outcome="done", exit_code=0, seconds=1.234, detail='a "word"', folder=folder)
    begin, end = (json.loads(line) for line in local_audit.lines("agents", folder=folder))
    assert (begin["event"], begin["run"], begin["user"], begin["plan"]) == ("begin", "r1", "ann", "plan")
    assert (end["event"], end["outcome"], end["seconds"], end["detail"]) == ("end", "done", 1.23, 'a "word"')
    assert end["at"].endswith("Z")
    assert local_audit.path(folder).stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_a_reason_not_to_begin(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepFailed, match="nothing was begun"):
        local_audit.begin(ENTRY, "agents", folder=tmp_path / "file")


def test_half_a_line_hides_no_other(tmp_path: Path) -> None:
    local_audit.begin(ENTRY, "agents", folder=tmp_path)
    with local_audit.path(tmp_path).open("a") as file:
        file.write('{"at": "x", "droplet": "agen\n')
    local_audit.begin(ENTRY, "agents", folder=tmp_path)
    assert len(local_audit.lines("agents", folder=tmp_path)) == 2
    assert local_audit.lines("agents", folder=tmp_path / "nothing") == ()
