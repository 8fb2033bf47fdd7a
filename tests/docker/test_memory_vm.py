"""The memory report on a machine: cgroup v2, systemd, a kernel log and an OOM killer of its own."""

from __future__ import annotations

import shutil

import pytest
from tests.conftest import Droplet
from tests.docker.test_memory import IMAGE, assert_touched_memory_is_seen, named, reported

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]


def test_the_ledger_adds_up_and_every_figure_is_known(machine: Droplet) -> None:
    report = reported(machine, "--disk-wait", "60")  # an emulated machine counts slowly
    assert report["host"]["cgroup_version"] == 2
    assert report["host"]["pressure"] is not None
    assert (report["notes"], report["host"]["nested"]) == ([], False)
    assert all(row["bytes"] is not None for row in report["ledger"]["rows"])
    assert abs(report["ledger"]["residual_share"]) < 0.05


def test_touched_memory_is_seen_exactly(machine: Droplet) -> None:
    assert_touched_memory_is_seen(machine)


def test_the_host_runs_out_and_the_culprit_is_named(machine: Droplet) -> None:
    machine.sh(
        f"docker run --name hog --network none --entrypoint python3 {IMAGE}"
        " -c 'x = [b\"x\" * (32 << 20) for _ in range(100)]'",
        check=False,
    )
    report = reported(machine)
    (kill,) = [each for each in report["ooms"] if each["victim"] == "hog"]
    assert (kill["scope"], kill["culprit"], kill["limit"]) == ("host", "hog (python3)", None)
    assert kill["culprit_bytes"] > 1_000_000_000
    assert named(report, "hog")["oom_kills"] == 1
    assert "ran out" in report["summary"]
