"""Kind `container`: the droplet that is a container, on the real engine of this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Opsctl, engine_missing

from opsctl.model.stackfile_load import read_stack

# The first droplet of a machine has to be built before it starts.
pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]

COMPOSE = "docker compose -f /opt/Dev-Tools/deploy/docker-compose.yml"


@dataclass(frozen=True)
class Box:
    """A sandbox of one droplet, driven as a user drives it."""

    name: str
    opsctl: Opsctl
    state: Path
    number: int = 0

    def seen(self) -> dict[str, Any]:
        """What status says of it."""
        shown = self.opsctl.json("sandbox", "status", "--name", self.name)["droplets"]
        result: dict[str, Any] = shown[self.number]["result"]
        return result

    def ssh(self, script: str, *, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a script there over OpenSSH, host key verified."""
        *argv, address = self.seen()["ssh"]
        words = [*argv, address.replace("root@", f"{user}@"), "bash -s"]
        return subprocess.run(words, input=script, capture_output=True, text=True, check=False, timeout=120)

    def sh(self, script: str, *, user: str = "root") -> str:
        """Its stdout; it must succeed."""
        done = self.ssh(script, user=user)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def left_of(name: str) -> str:
    """Containers and volumes that carry a droplet's label."""
    label = f"label=io.opsctl.sandbox={name}"
    return docker("ps", "-aq", "--filter", label) + docker("volume", "ls", "-q", "--filter", label)


def wait_until(what: str, script: str, box: Box) -> None:
    """Poll on the droplet itself, a minute at most."""
    done = box.ssh(f"for _ in $(seq 300); do {script} && exit 0; sleep 0.2; done; exit 1")
    assert done.returncode == 0, f"{what}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def opsctl(tmp_path_factory: pytest.TempPathFactory) -> Opsctl:
    if reason := engine_missing():
        pytest.skip(reason)
    state = tmp_path_factory.mktemp("state")
    return Opsctl({"OPSCTL_SANDBOX_STATE": str(state)}, tmp_path_factory.mktemp("work"))


def up(opsctl: Opsctl, name: str, *words: str) -> Box:
    done = opsctl("sandbox", "up", "--kind", "container", "--name", name, *words, timeout=1500)
    assert done.returncode == 0, done.stderr
    return Box(name, opsctl, Path(opsctl.environment["OPSCTL_SANDBOX_STATE"]))


@pytest.fixture(scope="module")
def box(opsctl: Opsctl) -> Iterator[Box]:
    name = f"t{os.getpid()}"
    try:
        yield up(opsctl, name)
    finally:
        opsctl("sandbox", "down", "--name", name)


def test_it_is_a_machine_of_its_own(box: Box) -> None:
    here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert box.sh("awk '/^MemTotal/ {print $2}' /proc/meminfo") == "2097152"
    assert box.sh("hostname") == box.name
    assert box.sh("cat /proc/sys/kernel/random/boot_id") == box.seen()["boot_id"] != here
    assert box.sh("docker info -f '{{.Driver}} {{.Containers}}'") == "overlay2 0"
    used = int(box.sh("awk '/^MemTotal/ {t=$2} /^MemAvailable/ {a=$2} END {print t-a}' /proc/meminfo"))
    assert used < 400_000, "an idle droplet's use is its own, not the machine's"


def test_every_image_of_the_compose_file_is_there(box: Box) -> None:
    wanted = set(box.sh(f"{COMPOSE} config --images").split())
    there = set(box.sh("docker images --format '{{.Repository}}:{{.Tag}}'").split())
    assert len(wanted) == 16
    assert wanted <= there
    layers = box.sh("docker image inspect -f '{{index .RootFS.Layers 1}}' devtools/orchestrator:1 devtools/langgraph:1")
    assert len(set(layers.split())) == 1, "the services share one layer"


def test_the_host_key_is_verified(box: Box, tmp_path: Path) -> None:
    *argv, address = box.seen()["ssh"]
    other = tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    port = argv[argv.index("-p") + 1]
    other.write_text(f"[127.0.0.1]:{port} {(tmp_path / 'other.pub').read_text()}")
    words = [f"UserKnownHostsFile={other}" if each.startswith("UserKnownHostsFile") else each for each in argv]
    refused = subprocess.run([*words, address, "true"], capture_output=True, text=True, check=False)
    assert refused.returncode == 255
    assert subprocess.run([*argv, address, "true"], check=False).returncode == 0


def test_users_have_the_rights_that_the_permission_cases_need(box: Box) -> None:
    assert box.ssh("docker ps", user="alex").returncode != 0
    assert box.ssh("sudo -n docker ps", user="alex").returncode == 0
    assert box.ssh("docker ps", user="deploy").returncode == 0
    assert box.ssh("sudo -n true", user="deploy").returncode != 0


def test_the_stack_comes_up_by_hand_and_proves_itself(box: Box) -> None:
    box.sh(f"{COMPOSE} up --no-start 2>&1 && docker start deploy-postgres-1 deploy-redis-1 deploy-gateway-mcp-1")
    assert box.ssh("curl -so /dev/null -w '%{http_code}' localhost:8000/health").stdout in ("503", "000", "200")
    wait_until("postgres", "PGPASSWORD=x docker exec deploy-postgres-1 pg_isready -qh 127.0.0.1", box)
    wait_until("gateway", "curl -sf localhost:8000/health", box)
    sql = "docker exec -i deploy-postgres-1 psql -XqAt -v ON_ERROR_STOP=1 -U devtools -d devtools"
    schema = "/opt/Dev-Tools/config/state/langgraph_checkpointing.sql"
    box.sh(f"{sql} < {schema} && {sql} < {schema}")
    tables = box.sh(f"{sql} -c \"SELECT tablename FROM pg_tables WHERE schemaname = 'checkpoints' ORDER BY 1\"")
    assert tables.split() == ["checkpoint_blobs", "checkpoint_migrations", "checkpoint_writes", "checkpoints"]
    box.sh("docker start deploy-orchestrator-1")
    wait_until("orchestrator", "curl -sf localhost:8001/health", box)
    wait_until("proof", "docker logs deploy-orchestrator-1 2>&1 | grep -q 'Hybrid memory'", box)
    log = box.sh("docker logs deploy-orchestrator-1 2>&1")
    assert "LangGraph PostgreSQL checkpointer initialized (schema checkpoints is there)" in log
    assert "Qdrant Cloud client initialized" in log


def test_services_touch_the_memory_of_the_documents(box: Box) -> None:
    rss = box.sh(
        "for name in gateway-mcp orchestrator; do id=$(docker inspect -f '{{.Id}}' deploy-$name-1);"
        " awk '/^(total_rss|anon) / {print $2; exit}' "
        "$(ls /sys/fs/cgroup/memory/docker/$id/memory.stat /sys/fs/cgroup/docker/$id/memory.stat 2>/dev/null); done"
    )
    gateway, orchestrator = (int(each) / 1e6 for each in rss.split())
    assert gateway == pytest.approx(120, rel=0.03)
    assert orchestrator == pytest.approx(180, rel=0.03)


def test_up_again_changes_nothing(box: Box) -> None:
    before = box.seen()
    up(box.opsctl, box.name)
    assert box.seen() == before


def test_the_engine_inside_can_be_stopped_and_comes_back(box: Box) -> None:
    box.sh("droplet-service stop dockerd")
    assert box.ssh("docker ps").returncode != 0
    box.sh("droplet-service start dockerd")
    wait_until("engine", "docker version > /dev/null 2>&1", box)
    box.sh("kill -9 $(cat /run/sandbox/dockerd.pid)")
    wait_until("engine after a crash", "docker version > /dev/null 2>&1", box)


@pytest.mark.parametrize("how", [(), ("--power-cycle",)], ids=["reboot", "power-cycle"])
def test_a_reboot_is_one(box: Box, how: tuple[str, ...]) -> None:
    box.sh("touch /root/stays; docker volume create kept")
    before = box.seen()
    done = box.opsctl("sandbox", "reboot", "--name", box.name, *how)
    assert done.returncode == 0, done.stderr
    after = box.seen()
    assert after["boot_id"] != before["boot_id"]
    assert after["address"] == before["address"]
    assert box.sh("ls /root/stays; docker volume ls -q --filter name=kept") == "/root/stays\nkept"
    assert float(box.sh("cut -d' ' -f1 /proc/uptime")) < float(Path("/proc/uptime").read_text().split()[0])


def test_a_reboot_from_inside(box: Box) -> None:
    before = box.seen()["boot_id"]
    box.ssh("reboot")
    for _ in range(300):
        seen = box.seen()
        if seen["condition"] == "running" and seen["boot_id"] not in ("", before):
            break
        time.sleep(0.1)
    assert seen["boot_id"] not in ("", before)


def test_a_broken_one_is_found_and_mended(box: Box) -> None:
    address = box.seen()["address"]
    (container,) = docker("ps", "-q", "--filter", f"label=io.opsctl.sandbox={box.name}").split()
    docker("rm", "-f", container)
    assert box.seen()["condition"] == "broken"
    up(box.opsctl, box.name)
    assert (box.seen()["condition"], box.seen()["address"]) == ("running", address)
    assert box.sh("docker ps -aq") == ""


def test_a_port_that_was_taken_meanwhile_is_changed_everywhere(box: Box) -> None:
    old = box.seen()["address"]
    (container,) = docker("ps", "-q", "--filter", f"label=io.opsctl.sandbox={box.name}").split()
    docker("rm", "-f", container)
    with socket.create_server(("127.0.0.1", int(old.rpartition(":")[2]))):
        up(box.opsctl, box.name)
    seen = box.seen()
    assert seen["address"] != old
    assert seen["address"] in Path(seen["stack_file"]).read_text()
    assert box.sh("hostname") == box.name


def test_ctrl_c_ends_it_and_the_next_one_goes_on(opsctl: Opsctl) -> None:
    name = f"stop{os.getpid()}"
    try:
        process = opsctl.start("sandbox", "up", "--kind", "container", "--name", name)
        assert process.stderr is not None
        for line in process.stderr:
            if f"{name}: filling" in line:
                break
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in error
        up(opsctl, name)
    finally:
        opsctl("sandbox", "down", "--name", name)
    assert left_of(name) == ""


def test_reset_makes_it_anew_at_the_same_address(box: Box) -> None:
    box.sh("touch /root/gone")
    before = box.seen()
    done = box.opsctl("sandbox", "reset", "--name", box.name)
    assert done.returncode == 0, done.stderr
    after = box.seen()
    assert (after["address"], after["ssh"]) == (before["address"], before["ssh"])
    assert box.ssh("test -e /root/gone").returncode == 1


@pytest.mark.parametrize("step", ["filling", "waits for its"])
def test_one_that_was_killed_half_way_is_mended(opsctl: Opsctl, step: str) -> None:
    name = f"half{os.getpid()}"
    try:
        process = opsctl.start("sandbox", "up", "--kind", "container", "--name", name)
        assert process.stderr is not None
        for line in process.stderr:
            if f"{name}: {step}" in line:
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert opsctl.json("sandbox", "status", "--name", name)["droplets"][0]["result"]["condition"] != "running"
        half = up(opsctl, name)
        assert half.sh("docker images -q | wc -l") == "16"
    finally:
        opsctl("sandbox", "down", "--name", name)
    assert left_of(name) == ""


def test_several_droplets_side_by_side_and_nothing_left(opsctl: Opsctl) -> None:
    name = f"fleet{os.getpid()}"
    state = Path(opsctl.environment["OPSCTL_SANDBOX_STATE"])
    before = {path.name for path in state.iterdir()}
    try:
        up(opsctl, name, "--count", "2")
        one, two = opsctl.json("sandbox", "status", "--name", name)["droplets"]
        assert (one["name"], two["name"]) == (f"{name}-1", f"{name}-2")
        assert one["result"]["stack_file"] == two["result"]["stack_file"]
        assert one["result"]["boot_id"] != two["result"]["boot_id"]
        run = "docker run -d --rm --network none --name mine devtools/agent-registry:1 >/dev/null; docker ps -q | wc -l"
        first = subprocess.run([*one["result"]["ssh"], run], capture_output=True, text=True, check=True)
        second = subprocess.run(
            [*two["result"]["ssh"], "docker ps -q | wc -l"], capture_output=True, text=True, check=True
        )
        assert (first.stdout.strip(), second.stdout.strip()) == ("1", "0")
        chosen = opsctl("sandbox", "ssh", "--name", name, "-d", f"{name}-2", "hostname")
        assert chosen.stdout.strip() == f"{name}-2"
        assert opsctl("sandbox", "ssh", "--name", name, "hostname").returncode == 2
    finally:
        done = opsctl("sandbox", "down", "--name", name)
    assert done.returncode == 0, done.stderr
    assert left_of(f"{name}-1") + left_of(f"{name}-2") == ""
    assert {path.name for path in state.iterdir()} == before


def test_the_stack_file_is_valid_and_whole(box: Box) -> None:
    path = Path(box.seen()["stack_file"])
    stack = read_stack(path.read_text(), path, environ={})
    assert set(box.sh(f"{COMPOSE} config --services").split()) == set(stack.services)
    needs = json.loads(box.sh(f"{COMPOSE} config --format json"))["services"]
    for name, service in needs.items():
        for other in service.get("depends_on", {}):
            here, there = stack.services[name].phase, stack.services[other].phase
            assert here is not None
            assert there is not None
            assert there <= here, f"{name} needs {other} of a later phase"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("status", "--name", "nowhere"), 2, "no sandbox"),
        (("up", "--name", "No Name"), 2, "cannot name a sandbox"),
        (("up", "--kind", "cloud"), 2, "no kind"),
        (("up", "--memory", "lots"), 2, "--memory"),
        (("up", "--memory", "64MB"), 2, "--memory"),
        (("ssh", "--name", "nowhere"), 2, "no sandbox"),
    ],
)
def test_wrong_words_are_refused(opsctl: Opsctl, words: tuple[str, ...], code: int, said: str) -> None:
    done = opsctl("sandbox", *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "next" in done.stderr


def test_without_an_engine_it_says_so(opsctl: Opsctl) -> None:
    alone = Opsctl({**opsctl.environment, "DOCKER_HOST": "unix:///nowhere.sock"}, opsctl.folder)
    done = alone("sandbox", "up", "--kind", "container", "--name", "none")
    assert done.returncode == 3
    assert "no Docker engine answers" in done.stderr
