"""A lease on this machine, with its audit lines, taken through the real local host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opsctl.hosts import connect
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, GateFailed, LeaseHeld
from opsctl.model.ports import Host, Script
from opsctl.model.stack import Droplet
from opsctl.spine.audit import Actor, Entry
from opsctl.spine.lease import hold


def local(folder: Path) -> Host:
    return connect(Droplet("here", "local"), confirm_host_key=None, state_dir=str(folder))


def entry(run: str = "r1") -> Entry:
    return Entry(run, "opsctl startup", "plan", Actor("ann", "laptop"), "2026-01-01T00:00:00Z", "1")


def audit(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def test_begin_and_end_frame_what_is_done_under_a_lease(tmp_path: Path) -> None:
    host = local(tmp_path)
    try:
        with hold(host, entry(), scope="stack", state_dir=str(tmp_path), cancel=Cancel(60)) as lease:
            done = lease.guard.run(Script("echo hi"), cancel=Cancel(60), timeout=30)
            assert done.text == "hi\n" and lease.journal == f"{tmp_path}/runs/r1.jsonl"
        begin, end = audit(tmp_path)
        assert (begin["event"], begin["plan"], begin["user"]) == ("begin", "plan", "ann")
        assert (end["outcome"], end["exit_code"]) == ("done", 0)
    finally:
        host.close()


def test_a_failure_is_told_and_the_lease_is_given_back(tmp_path: Path) -> None:
    host = local(tmp_path)
    try:
        with pytest.raises(GateFailed), hold(host, entry(), scope="stack", state_dir=str(tmp_path), cancel=Cancel(60)):
            raise GateFailed("no")
        assert audit(tmp_path)[-1]["exit_code"] == 7 and audit(tmp_path)[-1]["outcome"] == "failed"
        with hold(host, entry("r2"), scope="stack", state_dir=str(tmp_path), cancel=Cancel(60)) as lease:
            lease.exit_code = ExitCode.HANGUP
        assert audit(tmp_path)[-1]["outcome"] == "interrupted"
    finally:
        host.close()


def test_the_end_is_written_even_when_the_runs_own_token_is_done(tmp_path: Path) -> None:
    host, cancel = local(tmp_path), Cancel(60)
    try:
        with hold(host, entry(), scope="stack", state_dir=str(tmp_path), cancel=cancel):
            cancel.cancel()
        assert audit(tmp_path)[-1]["event"] == "end"
    finally:
        host.close()


def test_two_at_a_time_do_not_go(tmp_path: Path) -> None:
    first, second = local(tmp_path), local(tmp_path)
    try:
        with (
            hold(first, entry(), scope="stack", state_dir=str(tmp_path), cancel=Cancel(60)),
            pytest.raises(LeaseHeld) as held,
            hold(second, entry("r2"), scope="stack", state_dir=str(tmp_path), cancel=Cancel(60)),
        ):
            raise AssertionError
        assert "opsctl startup" in f"{held.value.info}"
        with hold(second, entry("r2"), scope="stack", state_dir=str(tmp_path), cancel=Cancel(60)):
            pass
    finally:
        first.close()
        second.close()


def test_whoever_never_gave_it_back_is_closed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "lease").mkdir()
    (tmp_path / "lease" / "stack.lock").touch()
    (tmp_path / "lease" / "stack.json").write_text('{"run": "r0", "user": "bob", "command": "opsctl stop"}\n')
    host = local(tmp_path)
    try:
        with hold(host, entry(), scope="stack", state_dir=str(tmp_path), cancel=Cancel(60)):
            pass
        first = audit(tmp_path)[0]
        assert (first["run"], first["outcome"], first["closed_by"]) == ("r0", "abandoned", "r1")
    finally:
        host.close()
