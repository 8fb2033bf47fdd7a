"""The main job once on a machine with a kernel, systemd and cgroups of its own."""

from __future__ import annotations

import shutil

import pytest
from tests.conftest import Droplet
from tests.test_main_job import CORE, valid

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]


def test_startup_then_memory_report(machine: Droplet) -> None:
    machine.sh("docker ps -aq | xargs -r docker rm -fv >/dev/null")
    # Its gates may take 300 s each where it is emulated.
    started = machine.opsctl.json("startup", "--phase", "2", timeout=900)
    assert started["ok"], started
    valid("startup", started)
    assert machine.running() == CORE
    once_more = machine.opsctl.json("startup", "--phase", "2", timeout=600)
    assert once_more["ok"], once_more
    assert {each["outcome"] for each in valid("startup", once_more)["services"]} == {"unchanged"}
    report = valid("memory.report", machine.opsctl.json("memory", "report", "--disk-wait", "60"))
    assert {each["service"] for each in report["containers"]} == CORE
    assert report["host"]["cgroup_version"] == 2
    assert abs(report["ledger"]["residual_share"]) < 0.05
    assert machine.opsctl("stop", "--yes").returncode == 0
    assert machine.running() == set()
