"""The memory report on a machine: cgroup v2, systemd, a kernel log and an OOM killer of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Droplet, Opsctl
from tests.docker.test_memory import IMAGE, assert_touched_memory_is_seen, named, reported

NAME = f"memory-{os.getpid()}"
pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Droplet]:
    """A machine for these tests alone: one of them fills its memory to the brim."""
    environment = {"OPSCTL_SANDBOX_STATE": str(tmp_path_factory.mktemp("state"))}
    opsctl = Opsctl(environment, tmp_path_factory.mktemp("work"))
    up = opsctl("sandbox", "up", "--kind", "vm", "--name", NAME, timeout=1400)
    try:
        if up.returncode == 3:
            pytest.skip(f"no machine can be made here: {up.stderr}")
        assert up.returncode == 0, up.stderr
        seen = opsctl.json("sandbox", "status", "--name", NAME)["droplets"][0]["result"]
        stack = Path(seen["stack_file"])
        yield Droplet(
            NAME, stack, Opsctl({**environment, "OPSCTL_STACK": str(stack)}, opsctl.folder), tuple(seen["ssh"])
        )
    finally:
        opsctl("sandbox", "down", "--name", NAME)


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
