"""`recover` on a real droplet: each rung that a container droplet has."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from tests.conftest import Droplet, Opsctl
from tests.test_main_job import valid

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]


def with_stack(droplet: Droplet, tmp_path: Path, *, reserve: str = "200MB") -> Opsctl:
    """opsctl with a stack of which Redis must run and the gateway may."""
    whole = droplet.stack_file.read_text(encoding="utf-8")
    head = whole[: whole.index("\nservices:")].replace("reserve: 200MB", f"reserve: {reserve}")
    path = tmp_path / "opsctl.yaml"
    path.write_text(
        head + "\nservices:\n"
        "  redis: {phase: 1, memory: 10MB, gate: {tcp: 6379, command: [redis-cli, ping]}}\n"
        '  gateway-mcp: {phase: 2, memory: 130MB, gate: {http: ":8000/health"}}\n'
        "fallback: [redis]\n"
    )
    return Opsctl({**droplet.opsctl.environment, "OPSCTL_STACK": str(path)}, droplet.opsctl.folder)


def boot_of(droplet: Droplet) -> str:
    return droplet.sh("cat /proc/sys/kernel/random/boot_id").strip()


def test_what_failed_is_restarted_and_proved_and_a_second_run_changes_nothing(droplet: Droplet, tmp_path: Path) -> None:
    opsctl = with_stack(droplet, tmp_path)
    assert opsctl("startup", "--phase", "2").returncode == 0
    droplet.sh("docker kill deploy-redis-1 >/dev/null")
    before = droplet.sh("docker inspect -f '{{.State.StartedAt}}' deploy-gateway-mcp-1")
    shown = opsctl("recover", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "restart what failed: redis" in shown.stdout
    assert "redis" not in droplet.running()
    page = tmp_path / "report.html"
    done = opsctl("recover", "--up-to", "service", "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert "recovered in" in done.stdout
    assert "redis is down with exit code 137" in done.stdout
    assert {"redis", "gateway-mcp"} <= droplet.running()
    assert droplet.sh("docker inspect -f '{{.State.StartedAt}}' deploy-gateway-mcp-1") == before
    assert "redis is down with exit code 137" in page.read_text(encoding="utf-8")
    assert "src=" not in page.read_text(encoding="utf-8")
    lines = droplet.sh("cat /var/lib/opsctl/audit.jsonl")
    again = valid("recover", opsctl.json("recover"))
    assert again["recovered"]
    assert again["climbs"] == []
    assert droplet.sh("cat /var/lib/opsctl/audit.jsonl") == lines, "nothing to do writes nothing"


def test_where_memory_stays_short_all_but_the_fallback_set_is_stopped(droplet: Droplet, tmp_path: Path) -> None:
    opsctl = with_stack(droplet, tmp_path)
    assert opsctl("startup", "--phase", "2").returncode == 0
    short = with_stack(droplet, tmp_path, reserve="2100MB")
    done = short.json("recover")
    result = done["droplets"][0]["result"]
    assert done["exit_code"] == 7, "2.1 GB can never be available here"
    assert droplet.running() == {"redis"}
    assert result["stopped"] == ["gateway-mcp"]
    assert [each["name"] for each in result["criteria"] if not each["ok"]] == ["memory"]
    assert done["droplets"][0]["error"]["next"] == "opsctl recover --up-to reboot"
    assert {each["service"]: each["why"] for each in result["missing"]} == {"gateway-mcp": "stopped to make room"}


def test_questions_need_a_terminal_and_names_must_exist(droplet: Droplet, tmp_path: Path) -> None:
    opsctl = with_stack(droplet, tmp_path)
    assert opsctl("recover", "--up-to", "reboot").returncode == 2
    told = opsctl("recover", "--yes")
    assert told.returncode == 2
    assert "--up-to reboot" in told.stderr
    assert opsctl("recover", "--html", "/nowhere/x.html").returncode == 2
    assert opsctl("recover", "--within", "soon").returncode == 2
    path = Path(opsctl.environment["OPSCTL_STACK"])
    path.write_text(path.read_text().replace("fallback: [redis]", "fallback: [rediss]"))
    told = opsctl("recover")
    assert told.returncode == 3
    assert "`fallback` names rediss" in " ".join(told.stderr.split())


def test_a_reboot_brings_the_engine_back_also_after_the_run_that_asked_for_it_was_killed(
    droplet: Droplet, tmp_path: Path
) -> None:
    opsctl = with_stack(droplet, tmp_path)
    assert opsctl("startup", "--phase", "1").returncode == 0
    before = boot_of(droplet)
    try:
        assert opsctl("sandbox", "break", "docker-down", "--name", droplet.name).returncode == 0
        droplet.sh("chmod -x /etc/init.d/docker")  # nothing there can start it by hand
        first = opsctl.start("recover", "--up-to", "reboot", "--yes")
        assert first.stderr is not None
        for line in first.stderr:
            if "reboot over SSH" in line:
                break
        first.send_signal(signal.SIGKILL)
        first.communicate()
        done = opsctl.json("recover", "--up-to", "reboot", "--yes")
        assert done["ok"], json.dumps(done, indent=1)
        result = valid("recover", done)
        assert result["recovered"]
        assert "redis" in result["back"]
        assert boot_of(droplet) != before
        assert not droplet.sh("ls /var/lib/opsctl/hold 2>/dev/null", check=False), "no hold is left"
        assert not droplet.sh("ls /var/lib/opsctl/lease/*.json 2>/dev/null", check=False), "no lease is left"
        audit = [json.loads(line) for line in droplet.sh("cat /var/lib/opsctl/audit.jsonl").splitlines()]
        begun = [each["run"] for each in audit if each["event"] == "begin"]
        assert sorted(begun) == sorted(each["run"] for each in audit if each["event"] == "end")
    finally:
        opsctl("sandbox", "mend", "--name", droplet.name)
        droplet.sh("chmod +x /etc/init.d/docker")


def test_a_droplet_that_is_hung_is_power_cycled(droplet: Droplet, tmp_path: Path) -> None:
    opsctl = with_stack(droplet, tmp_path)
    assert opsctl("startup", "--phase", "1").returncode == 0
    before = boot_of(droplet)
    try:
        assert opsctl("sandbox", "break", "hung", "--name", droplet.name).returncode == 0
        done = opsctl.json("recover", "--up-to", "power-cycle", "--yes", "--gentle", "0s")
        assert done["ok"], json.dumps(done, indent=1)
        result = done["droplets"][0]["result"]
        assert [each["kind"] for each in result["climbs"]] == ["power-cycle", "boot", "docker", "start"]
        assert result["before"] is None
        assert result["unreachable"]["code"] in ("no-banner", "timeout")
        assert boot_of(droplet) == result["boot_after"] != before
        assert "redis" in droplet.running()
    finally:
        opsctl("sandbox", "mend", "--name", droplet.name)
