"""What makes a droplet run jobs by itself: the files, and the script that runs one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from opsctl.jobs import cron_jobs
from opsctl.jobs.cron_jobs import JOBS, chosen, cron_text, in_cron, runner_text, unit_files
from opsctl.model.errors import UsageError


class Runner:
    """The real script, with a program of ours in opsctl's place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "cron"
        self._script, self._program = folder / "cron-run", folder / "opsctl"
        self._script.write_text(runner_text())

    def argv(self, body: str, deadline: int = 10) -> list[str]:
        self._program.write_text(f"#!/bin/bash\n{body}\n")
        self._program.chmod(0o755)
        return ["bash", str(self._script), "job", str(deadline), "0", "some", "words"]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "OPSCTL_CRON_FOLDER": str(self.folder), "OPSCTL_CRON_OPSCTL": str(self._program), **more}

    def __call__(self, body: str, deadline: int = 10, **more: str) -> subprocess.CompletedProcess[str]:
        argv = self.argv(body, deadline)
        return subprocess.run(argv, env=self.environment(**more), capture_output=True, text=True, check=False)

    @property
    def note(self) -> list[str]:
        return (self.folder / "job.last").read_text().rstrip("\n").split("\t")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_silent_when_all_is_well_and_what_was_said_is_asked_for(runner: Runner) -> None:
    done = runner('echo "did $*"')
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert runner.note[1:3] == ["done", "0"] and runner.note[4] == "did some words"
    assert ": done, exit 0" in (runner.folder / "job.log").read_text()
    assert runner("echo hello", OPSCTL_CRON_NOW="1").stdout == "hello\n"


def test_a_busy_lease_is_a_skip_and_a_failure_is_said_once(runner: Runner) -> None:
    assert (runner("echo held; exit 6").returncode, runner.note[1]) == (0, "skipped")
    first, second = runner("echo bad; exit 7"), runner("echo bad; exit 7")
    assert (first.returncode, second.returncode) == (1, 1)
    assert "bad" in first.stdout and second.stdout == ""
    assert (runner.folder / "job.log").read_text().count("  bad") == 2
    runner("true")
    assert "bad" in runner("echo bad; exit 7").stdout
    assert runner("exit 7", OPSCTL_CRON_NOW="1").returncode == 7


def test_it_is_ended_at_its_deadline(runner: Runner) -> None:
    assert runner("sleep 600 & wait", deadline=1).returncode == 1
    assert runner.note[1] == "deadline"


def test_one_at_a_time(runner: Runner, tmp_path: Path) -> None:
    argv = runner.argv(f"touch {tmp_path}/begun; sleep 600")
    with subprocess.Popen(argv, env=runner.environment(), text=True) as first:
        while not (tmp_path / "begun").exists():
            assert first.poll() is None
            time.sleep(0.02)
        try:
            second = subprocess.run(argv, env=runner.environment(), capture_output=True, text=True, check=False)
            assert (second.returncode, second.stdout) == (0, "")
            asked = runner.environment(OPSCTL_CRON_NOW="1")
            assert subprocess.run(argv, env=asked, capture_output=True, check=False).returncode == 6
        finally:
            first.terminate()
    assert runner.note[1] == "failed"


def test_the_log_rotates(runner: Runner) -> None:
    runner("true")
    log = runner.folder / "job.log"
    for size in (300_000, 400_000, 500_000):
        log.write_text("x" * size)
        runner("true")
    assert {path.name: path.stat().st_size // 100_000 for path in runner.folder.glob("job.log*")} == {
        "job.log": 0,
        "job.log.1": 5,
        "job.log.2": 4,
    }


def test_the_cron_file_and_the_units_run_the_same() -> None:
    text = cron_text(JOBS.values(), "agents")
    assert in_cron(text) == tuple(JOBS)
    assert text.endswith("\n") and "%" not in text  # cron takes a percent sign for a newline
    for job in JOBS.values():
        timer, service = unit_files(job, "agents").values()
        assert f"{cron_jobs.RUNNER} {job.name} {job.deadline} 0 {' '.join(job.words)}" in service
        assert ("OnCalendar=" in timer, f"RandomizedDelaySec={job.jitter}" in timer) == (True, True)
        # Who would tell that a boot replay stands still does not wait for it.
        assert ("After=docker.service opsctl-replay.service\n" in service) is (job.name != "watch")
        assert job.deadline + 60 <= int(service.partition("TimeoutStartSec=")[2].split()[0])
    assert "--confirm agents" in text


def test_a_job_that_is_none_is_refused() -> None:
    assert [job.name for job in chosen(())] == ["memory", "heal", "watch"]
    with pytest.raises(UsageError, match="no job 'nonsense'"):
        chosen(("nonsense",))
