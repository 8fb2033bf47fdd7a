"""`boot: replay` on a machine of its own: a hard reset, a restart of Docker alone, a hold, and taking it away."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet, Opsctl

from opsctl.model.ports import Script
from opsctl.sandbox import qmp
from opsctl.spine import hold

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]
# One of each kind: what Docker starts, what waits for its gate, and what does not fit any more after the boot.
SERVICES = """services:
  redis: {phase: 1, memory: 10MB, gate: {tcp: 6379, command: [redis-cli, ping], within: 300s}}
  gateway-mcp: {phase: 2, memory: 130MB, gate: {http: ":8000/health", within: 300s}}
  rag-context: {phase: 3, memory: 1900MB, gate: {http: ":8007/health", within: 300s}, optional: true}
"""
REPLAY = "opsctl-replay.service"


@dataclass
class Machine:
    """The machine with the small stack."""

    droplet: Droplet
    opsctl: Opsctl
    folder: Path

    def settled(self) -> str:
        """Wait until the unit has run in this boot; how it ended."""
        deadline = time.monotonic() + 900
        shown = ""
        enabled = self.droplet.sh(f"systemctl is-enabled {REPLAY}", check=False).strip()
        assert enabled == "enabled", "it is not installed"
        while time.monotonic() < deadline:
            asked = subprocess.run(
                [
                    *self.droplet.ssh[:-1],
                    "-o",
                    "ConnectTimeout=5",
                    self.droplet.ssh[-1],
                    f"systemctl is-active {REPLAY}",
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            shown = asked.stdout.strip()
            if shown in ("active", "failed"):
                return shown
            time.sleep(2)
        said = self.droplet.sh(f"journalctl -b --no-pager -u {REPLAY} | tail -50", check=False)
        pytest.fail(f"the replay is still {shown!r}\n{said}")

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        shown = self.droplet.sh(f"docker inspect deploy-{service}-1")
        found: dict[str, Any] = json.loads(shown)[0]
        return found

    def started(self, service: str) -> str:
        """When it was last started; "" while it does not run."""
        state = self.inspect(service)["State"]
        return str(state["StartedAt"]) if state["Running"] else ""

    def policy(self, service: str) -> str:
        """Its restart policy."""
        return str(self.inspect(service)["HostConfig"]["RestartPolicy"]["Name"])

    def gate_passed(self, service: str) -> str:
        """When the last run knew that a service answers: its gate, or the look before it that found it healthy."""
        lines = self.droplet.sh("cat $(ls -t /var/lib/opsctl/runs/*.jsonl | head -n 1)").splitlines()
        said = [json.loads(line) for line in lines]
        ended = [each["at"] for each in said if f"gate:{service}" in each.get("steps", ()) and each["event"] == "end"]
        kept = [
            each["at"]
            for each in said
            if each["event"] == "run" and [f"keep:{service}", f"{service} is healthy already"] in each["steps"]
        ]
        assert ended or kept, said
        return str((ended or kept)[-1])

    def boot_id(self) -> str:
        """The boot, "" while nobody answers."""
        argv = [*self.droplet.ssh[:-1], "-o", "ConnectTimeout=5", self.droplet.ssh[-1]]
        asked = [*argv, "cat /proc/sys/kernel/random/boot_id"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def moment(stamp: str) -> float:
    """Seconds; the engine writes more digits than Python reads, the journal none."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def bash(machine: Droplet, script: Script) -> str:
    words = " ".join(f"'{each}'" for each in script.args)
    return machine.sh(f"set -- {words}\n{script.text}")


@pytest.fixture(scope="module")
def boot(machine: Droplet, machine_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine.sh("docker ps -aq | xargs -r docker rm -fv >/dev/null; rm -rf /var/lib/opsctl")
    file = tmp_path_factory.mktemp("boot") / "opsctl.yaml"
    head = machine.stack_file.read_text().split("services:")[0]
    file.write_text(head.replace("    reserve: 200MB\n", "    reserve: 200MB\n    boot: replay\n") + SERVICES)
    opsctl = Opsctl({**machine.opsctl.environment, "OPSCTL_STACK": str(file)}, machine.opsctl.folder)
    return Machine(machine, opsctl, machine_folder)


def test_startup_hands_the_later_phases_over(boot: Machine) -> None:
    before = boot.opsctl("startup", "--phase", "1", timeout=600)
    assert before.returncode == 0, before.stderr
    assert "no effect yet" in before.stdout
    put = boot.opsctl("host", "install", timeout=600)
    assert put.returncode == 0, put.stderr
    assert boot.droplet.sh(f"systemctl is-enabled {REPLAY}").strip() == "enabled"
    up = boot.opsctl("startup", "--ignore-memory", timeout=600)
    assert up.returncode == 0, up.stderr
    assert boot.droplet.running() == {"redis", "gateway-mcp", "rag-context"}
    assert [boot.policy(each) for each in ("redis", "gateway-mcp", "rag-context")] == ["always", "no", "no"]
    again = boot.opsctl.json("startup", "--phase", "2", timeout=600)
    assert {each["outcome"] for each in again["droplets"][0]["result"]["services"]} == {"unchanged"}


def test_after_a_hard_reset_nothing_starts_before_its_gate(boot: Machine) -> None:
    before = boot.boot_id()
    boot.droplet.sh("sync")
    qmp.execute(boot.folder, "system_reset")
    deadline = time.monotonic() + 600
    while boot.boot_id() in (before, "") and time.monotonic() < deadline:
        time.sleep(1)
    assert boot.settled() == "active"
    assert moment(boot.started("redis")) <= moment(boot.gate_passed("redis")) <= moment(boot.started("gateway-mcp"))
    assert not boot.started("rag-context"), "it ran before the boot, and does not fit what is free after it"
    oom = boot.droplet.sh("journalctl -k -b --no-pager | grep -ciE 'out of memory|oom-kill'", check=False)
    assert oom.strip() == "0"
    # The unit's own peak, shells and docker's client included; what remains afterwards is nothing.
    peak = int(boot.droplet.sh(f"systemctl show -p MemoryPeak --value {REPLAY}"))
    assert peak > 0
    assert boot.droplet.sh("pgrep -fc 'opsctl|bin/replay'", check=False).strip() == "0", "nothing of opsctl's stays"


def test_a_restart_of_docker_alone_is_replayed_and_a_hold_keeps_it_waiting(boot: Machine) -> None:
    state_dir = "/var/lib/opsctl"
    bash(boot.droplet, hold.place(state_dir, "test-run", "a test holds it", 600))
    gone = boot.started("gateway-mcp")
    boot.droplet.sh("systemctl restart docker")
    boot.droplet.sh(f"until journalctl -b --no-pager -u {REPLAY} | grep -q 'standing aside'; do sleep 1; done")
    boot.droplet.sh("until [ \"$(docker inspect -f '{{.State.Running}}' deploy-redis-1)\" = true ]; do sleep 1; done")
    assert not boot.started("gateway-mcp"), "it waits for the one who holds it"
    seen = boot.opsctl("host", "status")
    assert "a test holds it" in seen.stdout, seen.stdout
    held_until = moment(boot.droplet.sh("date -u +%FT%TZ").strip())
    bash(boot.droplet, hold.lift(state_dir, "test-run"))
    assert boot.settled() == "active"
    after = boot.started("gateway-mcp")
    assert after and after != gone
    assert moment(after) >= held_until
    assert moment(boot.started("redis")) <= moment(boot.gate_passed("redis")) <= moment(after)


def test_taking_it_away_gives_the_policies_back_and_leaves_plain_compose(boot: Machine) -> None:
    listed = boot.opsctl("host", "remove", "--dry-run")
    for each in ("/usr/local/bin/opsctl", "/etc/opsctl/opsctl.yaml", f"/etc/systemd/system/{REPLAY}", "boot.json"):
        assert each in listed.stdout, listed.stdout
    assert boot.policy("gateway-mcp") == "no"
    gone = boot.opsctl("host", "remove", "--yes", timeout=300)
    assert gone.returncode == 0, gone.stderr
    assert [boot.policy(each) for each in ("redis", "gateway-mcp", "rag-context")] == ["always", "always", "always"]
    left = boot.droplet.sh(
        "ls -d /etc/opsctl /usr/local/bin/opsctl /var/lib/opsctl/app /var/lib/opsctl/boot.json"
        " /etc/systemd/system/opsctl-* /etc/systemd/system/*.wants/opsctl-* 2>/dev/null",
        check=False,
    )
    assert left == ""
    assert boot.opsctl("stop", "--yes", timeout=600).returncode == 0
