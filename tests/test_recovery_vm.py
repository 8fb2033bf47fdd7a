"""The whole story once, on a real machine: a culprit eats, the droplet hangs, recover brings it back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.conftest import Droplet

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]

CORE = {"postgres", "redis", "gateway-mcp", "orchestrator"}


def test_a_droplet_that_died_comes_back_and_says_who_killed_it(machine: Droplet, tmp_path: Path) -> None:
    opsctl = machine.opsctl
    machine.sh("docker ps -aq | xargs -r docker rm -fv >/dev/null")
    assert opsctl.json("startup", "--phase", "2")["ok"]
    before = machine.sh("cat /proc/sys/kernel/random/boot_id").strip()
    try:
        broken = opsctl("sandbox", "break", "oom", "--victim", "redis")
        assert broken.returncode == 0, broken.stderr
        told = opsctl.json("why")["droplets"][0]["result"]
        kill = told["kills"][-1]
        assert (kill["scope"], kill["victim"], kill["culprit"]) == ("host", "redis", "culprit"), kill
        assert kill["culprit_bytes"] > kill["victim_bytes"]
        machine.sh("sync")  # what a kernel says in its last seconds may never reach the disk; this was minutes ago
        hung = opsctl("sandbox", "break", "hung")
        assert hung.returncode == 0, hung.stderr
        page = tmp_path / "report.html"
        done = opsctl.json("recover", "--up-to", "power-cycle", "--yes", "--html", str(page))
        assert done["ok"], json.dumps(done, indent=1)
        result = done["droplets"][0]["result"]
        assert result["recovered"]
        assert result["unreachable"]["code"] in ("no-banner", "timeout")
        assert result["boot_after"] == machine.sh("cat /proc/sys/kernel/random/boot_id").strip() != before
        assert "power-cycle" in [each["kind"] for each in result["climbs"] if each["outcome"] == "changed"]
        assert set(result["back"]) >= CORE
        assert machine.running() >= CORE
        kill = result["after"]["kills"][-1]
        assert (kill["boot"], kill["scope"], kill["victim"], kill["culprit"]) == (-1, "host", "redis", "culprit"), kill
        assert result["after"]["before_ended"] == "cut"
        assert all(each["ok"] for each in result["criteria"])
        text = page.read_text(encoding="utf-8")
        assert "The culprit is culprit (process tail)" in text
        assert not machine.sh("ls /var/lib/opsctl/hold 2>/dev/null", check=False)
    finally:
        opsctl("sandbox", "mend")
