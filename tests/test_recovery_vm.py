"""The whole story once, on a real machine: a culprit eats, the droplet hangs, recover brings it back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet, Opsctl

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]

BOUND = 900.0  # s; an emulated machine beside other tests takes its time


def with_stack(machine: Droplet, tmp_path: Path) -> Opsctl:
    """opsctl with a stack of which Redis must run."""
    whole = machine.stack_file.read_text(encoding="utf-8")
    path = tmp_path / "opsctl.yaml"
    path.write_text(
        whole[: whole.index("\nservices:")] + "\nservices:\n"
        "  redis: {phase: 1, memory: 10MB, gate: {within: 300s, tcp: 6379, command: [redis-cli, ping]}}\n"
    )
    return Opsctl({**machine.opsctl.environment, "OPSCTL_STACK": str(path)}, machine.opsctl.folder)


def ask(opsctl: Opsctl, *words: str) -> Any:
    """The result of a command that has to succeed."""
    done = opsctl(*words, "--json", timeout=BOUND)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)["droplets"][0]["result"]


def test_a_droplet_that_died_comes_back_and_says_who_killed_it(machine: Droplet, tmp_path: Path) -> None:
    opsctl = with_stack(machine, tmp_path)
    machine.sh("docker ps -aq | xargs -r docker rm -fv >/dev/null")
    ask(opsctl, "startup", "--phase", "1")
    before = machine.sh("cat /proc/sys/kernel/random/boot_id").strip()
    try:
        ask(opsctl, "sandbox", "break", "oom", "--victim", "redis")
        kills = ask(opsctl, "why")["kills"]
        blamed = [(each["scope"], each["culprit"]) for each in kills if each["victim"] == "redis"]
        assert blamed == [("host", "culprit")], kills
        machine.sh("sync")  # what a kernel says in its last seconds may never reach the disk; this was minutes ago
        ask(opsctl, "sandbox", "break", "hung")
        page = tmp_path / "report.html"
        result = ask(opsctl, "recover", "--up-to", "power-cycle", "--yes", "--html", str(page))
        print(json.dumps([(each["kind"], each["outcome"], each["seconds"]) for each in result["climbs"]]))
        assert result["recovered"]
        assert result["unreachable"]["code"] in ("no-banner", "timeout")
        assert result["boot_after"] == machine.sh("cat /proc/sys/kernel/random/boot_id").strip() != before
        assert "power-cycle" in [each["kind"] for each in result["climbs"] if each["outcome"] == "changed"]
        assert "redis" in result["back"]
        assert "redis" in machine.running()
        kills = result["after"]["kills"]
        blamed = [(each["boot"], each["scope"], each["culprit"]) for each in kills if each["victim"] == "redis"]
        assert blamed == [(-1, "host", "culprit")], kills
        assert result["after"]["before_ended"] == "cut"
        assert all(each["ok"] for each in result["criteria"])
        assert "The culprit is culprit (process tail)" in page.read_text(encoding="utf-8")
        assert not machine.sh("ls /var/lib/opsctl/hold 2>/dev/null", check=False)
    finally:
        opsctl("sandbox", "mend", timeout=BOUND)
