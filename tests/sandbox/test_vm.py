"""A droplet that is a machine, from its making to its end. One machine serves all tests, in this order."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.conftest import MACHINE, Droplet, Opsctl

from opsctl.sandbox import vm_process

QEMU = "qemu-system-x86_64"
pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(shutil.which(QEMU) is None, reason="QEMU is not installed"),
]


@pytest.fixture(scope="module", autouse=True)
def _clean(machine: Droplet) -> None:
    """Take away what the tests before left running."""
    machine.sh("docker ps -aq | xargs -r docker rm -fv >/dev/null; rm -rf /var/lib/opsctl")


def boot_id(machine: Droplet) -> str:
    return machine.sh("cat /proc/sys/kernel/random/boot_id").strip()


def test_it_has_memory_and_cgroups_of_its_own(machine: Droplet) -> None:
    total = int(machine.sh("awk '/^MemTotal/ {print $2}' /proc/meminfo")) * 1024
    assert 0.94 * 2**31 < total < 2**31  # the kernel keeps some for itself
    assert machine.sh("wc -l < /proc/swaps").strip() == "1"
    assert machine.sh("stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs"
    assert "memory" in machine.sh("cat /sys/fs/cgroup/cgroup.controllers").split()
    assert machine.sh("cat /proc/pressure/memory").startswith("some avg10=")
    assert "systemd 2" in machine.sh("docker info --format '{{.CgroupDriver}} {{.CgroupVersion}}'")


def test_its_system_is_whole_and_its_clock_is_right(machine: Droplet) -> None:
    before = int(time.time())
    there = int(machine.sh("date +%s"))
    assert before - 5 <= there <= int(time.time()) + 5
    assert machine.sh("systemctl is-system-running", check=False).strip() == "running"
    assert machine.sh("hostname").strip() == MACHINE


def test_the_stack_is_ready_to_be_created(machine: Droplet) -> None:
    assert machine.sh("docker ps -aq") == ""
    images = machine.sh("docker images --format '{{.Repository}}'")
    assert "postgres" in images
    machine.sh("cd /opt/Dev-Tools/deploy && docker image inspect $(docker compose config --images) >/dev/null")


@pytest.mark.parametrize(("user", "sudo", "engine"), [("alex", True, False), ("deploy", False, True)])
def test_its_users_may_do_what_they_are_for(machine: Droplet, user: str, sudo: bool, engine: bool) -> None:
    ssh = [*machine.ssh[:-1], f"{user}@127.0.0.1"]

    def works(command: str) -> bool:
        return subprocess.run([*ssh, command], capture_output=True, check=False).returncode == 0

    assert works("true")
    assert works("sudo -n true") is sudo
    assert works("docker version") is engine


def test_a_container_over_its_limit_is_killed_and_the_kernel_says_so(machine: Droplet) -> None:
    image = machine.sh("docker images --format '{{.Repository}}:{{.Tag}}' | grep gateway-mcp").strip()
    eat = 'import time; b = bytearray(b"x") * (200 << 20); time.sleep(60)'
    machine.sh(f"docker run --name eater --memory 64m --entrypoint python3 {image} -c '{eat}'", check=False)
    container = machine.sh("docker inspect -f '{{.Id}} {{.State.OOMKilled}} {{.State.ExitCode}}' eater").split()
    assert container[1:] == ["true", "137"]
    log = machine.sh("journalctl -k -o short-iso --no-pager")
    kills = [line for line in log.splitlines() if "oom-kill:constraint" in line]
    assert any(f"docker-{container[0]}.scope" in line for line in kills), kills
    assert "Memory cgroup out of memory: Killed process" in log


def test_up_leaves_a_running_machine_alone(machine: Droplet, machine_opsctl: Opsctl, machine_folder: Path) -> None:
    before, pid = boot_id(machine), vm_process.owner(machine_folder)
    assert machine_opsctl("sandbox", "up", "--name", MACHINE).returncode == 0
    assert (boot_id(machine), vm_process.owner(machine_folder)) == (before, pid)


def test_a_reboot_is_one_and_the_disk_stays(machine: Droplet, machine_opsctl: Opsctl, machine_folder: Path) -> None:
    machine.sh("echo kept > /root/note")
    before, pid = boot_id(machine), vm_process.owner(machine_folder)
    machine.sh("nohup sh -c 'sleep 1; reboot' >/dev/null 2>&1 &")
    deadline = time.monotonic() + 600
    after = before
    while after in (before, "") and time.monotonic() < deadline:
        after = subprocess.run(
            [*machine.ssh[:-1], "-o", "ConnectTimeout=5", machine.ssh[-1], "cat /proc/sys/kernel/random/boot_id"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        time.sleep(0.5)
    assert after not in (before, "")
    assert vm_process.owner(machine_folder) == pid
    assert machine.sh("cat /root/note") == "kept\n"


def test_a_dead_machine_is_found_and_started_again(
    machine: Droplet, machine_opsctl: Opsctl, machine_folder: Path
) -> None:
    before, pid = boot_id(machine), vm_process.owner(machine_folder)
    machine.sh("set -e; echo kept > /root/note; sync")
    vm_process.kill(machine_folder)
    assert (machine_folder / vm_process.PIDFILE).exists()
    seen = machine_opsctl.json("sandbox", "status", "--name", MACHINE)["droplets"][0]["result"]
    assert seen["condition"] == "stopped"
    up = machine_opsctl("sandbox", "up", "--name", MACHINE, timeout=900)
    assert up.returncode == 0, up.stderr
    assert boot_id(machine) != before
    assert vm_process.owner(machine_folder) not in (None, pid)
    look = "stat /root/note; df /; dmesg | grep -iE 'ext4|nvme'"
    assert machine.sh("cat /root/note") == "kept\n", machine.sh(look, check=False)


def test_nothing_secret_is_to_be_seen(machine: Droplet, machine_folder: Path) -> None:
    pid = vm_process.owner(machine_folder)
    argv = Path(f"/proc/{pid}/cmdline").read_text()
    assert "PRIVATE KEY" not in argv
    assert "sandbox.identity=" not in argv
    assert machine_folder.stat().st_mode & 0o077 == 0
    assert not (machine_folder / "identity").exists()


def test_down_leaves_nothing(machine: Droplet, machine_opsctl: Opsctl, machine_folder: Path) -> None:
    pid = vm_process.owner(machine_folder)
    assert machine_opsctl("sandbox", "down", "--name", MACHINE).returncode == 0
    assert not Path(f"/proc/{pid}/exe").exists()  # whoever is to reap it may take its time
    there = Path(machine_opsctl.environment["OPSCTL_SANDBOX_STATE"]).iterdir()
    assert [each.name for each in there if MACHINE in each.name] == []
