"""The figures against memory that is really touched, and the report typed at a real droplet."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet as Running

from opsctl.docker import collect
from opsctl.jobs.memory import report
from opsctl.model.stack import Droplet, Stack

RECORDED = Path(__file__).parent / "recorded"
ANON, TMPFS = 120 << 20, 48 << 20
IMAGE = "devtools/gateway-mcp:1"
TOUCH = f"""
import mmap, signal
signals = [signal.SIGUSR1]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
block = b"x" * (1 << 20)  # before the first look: malloc would keep it as 1 MB of heap that nobody meant to touch
print("ready", flush=True)
signal.sigwait(signals)
memory = mmap.mmap(-1, {ANON}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, {ANON}, 4096):
    memory[at] = 1
with open("/dev/shm/x", "wb") as file:
    for _ in range({TMPFS >> 20}):
        file.write(block)
print("touched", flush=True)
signal.sigwait(signals)
"""


def reported(droplet: Running, *options: str) -> dict[str, Any]:
    """The droplet's report as data."""
    (only,) = droplet.opsctl.json("memory", "report", "-d", droplet.name, *options)["droplets"]
    result: dict[str, Any] = only["result"]
    return result


def named(report: dict[str, Any], name: str) -> dict[str, Any]:
    """One container of a report."""
    found: dict[str, Any] = next(each for each in report["containers"] if each["name"] == name)
    return found


def wait_for_line(droplet: Running, name: str, line: str) -> None:
    """Until the container has printed the line."""
    until = time.monotonic() + 120
    while line not in droplet.sh(f"docker logs {name} 2>&1"):
        assert time.monotonic() < until, droplet.sh(f"docker logs {name} 2>&1")
        time.sleep(0.2)


def assert_touched_memory_is_seen(droplet: Running) -> None:
    """N bytes of anonymous memory and M of tmpfs raise `held` and `used` by N + M, within 1 %."""
    droplet.sh(
        f"docker run -d --name toucher --network none --shm-size 64m -m 512m --entrypoint python3 {IMAGE} -c '{TOUCH}'"
    )
    try:
        wait_for_line(droplet, "toucher", "ready")
        before = reported(droplet)
        droplet.sh("docker kill -s USR1 toucher")
        wait_for_line(droplet, "toucher", "touched")
        after = reported(droplet)
    finally:
        droplet.sh("docker rm -f toucher")
    for figure in ("unreclaimable", "used"):
        raised = named(after, "toucher")[figure] - named(before, "toucher")[figure]
        assert raised == pytest.approx(ANON + TMPFS, rel=0.01), figure
    assert named(after, "toucher")["limit"] == 512 << 20
    ledger = {row["key"]: row["bytes"] for row in after["ledger"]["rows"]}
    was = {row["key"]: row["bytes"] for row in before["ledger"]["rows"]}
    others = [
        sum(each["unreclaimable"] or 0 for each in of["containers"] if each["name"] != "toucher")
        for of in (before, after)
    ]
    raised = ledger["containers"] - was["containers"] - (others[1] - others[0])  # those go on with their work
    assert raised == pytest.approx(ANON + TMPFS, rel=0.01)


@pytest.mark.parametrize("name", ["memory-v1-nested.txt", "memory-v2-vm.txt"])
def test_the_ledger_of_a_recorded_droplet_adds_up(name: str) -> None:
    here = Droplet("x", "local")
    seen = report(collect.facts((RECORDED / name).read_bytes()), Stack(None, {"x": here}, {}), here).ledger
    assert seen.residual == seen.total - sum(row.bytes or 0 for row in seen.rows)
    assert abs(seen.residual_share or 1) < 0.05


@pytest.mark.sandbox
def test_touched_memory_is_seen_exactly(droplet: Running) -> None:
    assert_touched_memory_is_seen(droplet)


@pytest.mark.sandbox
def test_the_ledger_of_a_droplet_adds_up(droplet: Running) -> None:
    ledger = reported(droplet)["ledger"]
    assert ledger["residual"] == ledger["total"] - sum(row["bytes"] for row in ledger["rows"])
    assert abs(ledger["residual_share"]) < 0.05


@pytest.mark.sandbox
def test_an_oom_kill_is_told_with_victim_culprit_and_limit(droplet: Running) -> None:
    droplet.sh(
        f"docker run --name eater -m 40m --memory-swap 40m --network none --entrypoint python3 {IMAGE}"
        " -c 'x = bytearray(90 << 20)'",
        check=False,
    )
    report = reported(droplet)
    assert named(report, "eater")["oom_kills"] == 1
    assert named(report, "eater")["verdict"] == "stopped"
    if report["ooms"] is None:
        pytest.skip("the kernel log may not be read here")
    (kill,) = [each for each in report["ooms"] if each["victim"] == "eater"]
    assert (kill["scope"], kill["culprit"], kill["limit"]) == ("limit", "eater", 40 << 20)
    shown = droplet.opsctl("memory", "report", "-d", droplet.name)
    assert "eater: its own limit of 42 MB" in shown.stdout


@pytest.mark.sandbox
def test_every_form_of_the_report(droplet: Running, tmp_path: Path) -> None:
    shown = droplet.opsctl("memory", "report", "-d", droplet.name)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Where the RAM goes" in shown.stdout
    chat = droplet.opsctl("memory", "report", "-d", droplet.name, "--format", "text")
    assert max(map(len, chat.stdout.splitlines())) <= 40
    page = tmp_path / "report.html"
    written = droplet.opsctl("memory", "report", "-d", droplet.name, "--html", str(page))
    assert (written.returncode, written.stdout) == (0, "")
    assert page.read_text().startswith("<!doctype html>")
    nowhere = droplet.opsctl("memory", "report", "-d", droplet.name, "--html", str(tmp_path / "no" / "x.html"))
    assert nowhere.returncode == 1


@pytest.mark.sandbox
@pytest.mark.parametrize("user", ["alex", "deploy"])
def test_users_without_root_see_what_they_may(droplet: Running, user: str) -> None:
    """alex reads through sudo; deploy may use the engine but not look into other users' processes."""
    stack = droplet.stack_file.parent / f"{user}.yaml"
    stack.write_text(droplet.stack_file.read_text().replace("root@", f"{user}@"))
    document = droplet.opsctl.json("memory", "report", "--stack", str(stack), "-d", droplet.name)
    assert document["ok"], document
    report = document["droplets"][0]["result"]
    docker = next(row for row in report["ledger"]["rows"] if row["key"] == "docker")
    if user == "alex":
        assert docker["bytes"] > 0
    else:
        assert docker["bytes"] is None
        assert report["ledger"]["residual"] is None
        assert any("without root" in note for note in report["notes"])
        assert "unknown" in droplet.opsctl("memory", "report", "--stack", str(stack), "-d", droplet.name).stdout


@pytest.mark.sandbox
def test_an_engine_that_is_down_leaves_the_hosts_figures(droplet: Running) -> None:
    droplet.sh("droplet-service stop dockerd")
    try:
        document = droplet.opsctl.json("memory", "report", "-d", droplet.name)
    finally:
        droplet.sh("droplet-service start dockerd")
    assert document["exit_code"] == 4
    assert document["droplets"][0]["error"]["code"] in ("engine-down", "engine-none")
    assert document["droplets"][0]["result"]["host"]["total"] == 2 << 30


def test_the_report_of_this_machine_is_small() -> None:
    """What runs on a 1 GB droplet is measured: the whole command, at most 45 MB."""
    # The kernel's own high-water mark: the one of getrusage is inherited from the process that started this one.
    script = (
        "import runpy, sys\n"
        "sys.argv = ['opsctl', 'memory', 'report', '-d', 'local', '--json']\n"
        "try:\n    runpy.run_module('opsctl', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["schema"] == "opsctl.memory.report/1"
    assert int(done.stderr.split()[-2]) <= 45 * 1024
