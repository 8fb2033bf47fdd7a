"""A lease that is in the way is taken from its holder, on this machine, by the script that a droplet runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.hosts.support import eventually

from opsctl.hosts.agent import Settings
from opsctl.hosts.local import LocalHost
from opsctl.model.cancel import Cancel
from opsctl.model.errors import LeaseBroken
from opsctl.model.ports import GuardSpec, Script
from opsctl.spine import breaking

HOLDER = {"user": "ann", "from": "laptop", "command": "opsctl startup"}


STUBBORN = 'setsid bash -c \'trap "" TERM; echo $$ >$0/pid; sleep 300\' "$1" </dev/null >/dev/null 2>&1 & sleep 0.5'


def script(folder: Path, run: str) -> Script:
    return breaking.script(
        str(folder), "data:memory", run=run, user="bob", origin="desk", reason='it\'s "mine"', lines=('"event":"x"}',)
    )


def test_everything_that_ran_under_it_is_ended_even_what_ignores_being_asked(tmp_path: Path) -> None:
    host, other, cancel = LocalHost(Settings("box"), state_dir=str(tmp_path)), None, Cancel(60)
    try:
        guard = host.guard(GuardSpec("data:memory", "r1", HOLDER), cancel=cancel)
        # It has left its session and ignores SIGTERM; it still has the lock open, and so it is not forgotten.
        guard.run(Script(STUBBORN, (str(tmp_path),)), cancel=cancel, timeout=20)
        pid = (tmp_path / "pid").read_text().strip()
        other = LocalHost(Settings("box"), state_dir=str(tmp_path))
        wrong = other.run(script(tmp_path, "r9"), cancel=cancel, timeout=30)
        assert wrong.code == breaking.OTHER
        done = other.run(script(tmp_path, "r1"), cancel=cancel, timeout=30)
        assert done.code == 0 and int(done.text) >= 2, done.error_text
        assert eventually(lambda: _gone(pid))
        assert eventually(lambda: _told(guard, cancel))
        assert json.loads((tmp_path / "audit.jsonl").read_text())["event"] == "x"
        left = sorted(each.name for each in (tmp_path / "lease").iterdir())
        assert left == ["data-memory.lock", "data-memory.under"]
        assert other.guard(GuardSpec("data:memory", "r2", HOLDER), cancel=cancel).abandoned is None
        again = other.run(script(tmp_path, "r1"), cancel=cancel, timeout=30)
        assert again.code == breaking.OTHER
    finally:
        host.close()
        if other is not None:
            other.close()


def _gone(pid: str) -> bool:
    """Dead, whether somebody has buried it or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _told(guard: object, cancel: Cancel) -> bool:
    try:
        guard.run(Script("true"), cancel=cancel, timeout=5)  # type: ignore[attr-defined]
    except LeaseBroken as error:
        return "bob from desk" in error.info.what and 'it\'s "mine"' in error.info.why
    return False


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root to be somebody else")
def test_another_users_holder_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    host, cancel = LocalHost(Settings("box"), state_dir=str(tmp_path / "state")), Cancel(30)
    try:
        host.guard(GuardSpec("data:memory", "r1", HOLDER), cancel=cancel)
        wanted = script(tmp_path / "state", "r1")
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", "bash", "-c", wanted.text, "bash", *wanted.args],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == breaking.FORBIDDEN, done
        assert host.run(Script("true"), cancel=cancel, timeout=10).code == 0
    finally:
        host.close()
