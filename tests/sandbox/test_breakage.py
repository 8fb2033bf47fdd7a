"""Faults on purpose: real on a container droplet, written down, and undone exactly."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.conftest import Droplet, Opsctl

from opsctl.model.errors import OpsError
from opsctl.sandbox.breakage_faults import Options, named

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]


@pytest.fixture
def redis(droplet: Droplet) -> Iterator[Droplet]:
    """The droplet with Redis on it; whatever a test broke is mended afterwards."""
    assert droplet.opsctl("startup", "--only", "redis").returncode == 0
    yield droplet
    mended = droplet.opsctl("sandbox", "mend")
    assert mended.returncode == 0, mended.stderr


def break_(droplet: Droplet, *words: str) -> None:
    done = droplet.opsctl("sandbox", "break", *words)
    assert done.returncode == 0, done.stderr


def mend(droplet: Droplet, *words: str) -> list[str]:
    """What was mended."""
    shown = droplet.opsctl.json("sandbox", "mend", *words)
    assert shown["ok"], shown
    return [each["what"] for each in shown["droplets"][0]["result"]["mended"]]


def broken(droplet: Droplet) -> list[str]:
    """What status says is broken."""
    shown = droplet.opsctl.json("sandbox", "status", "--name", droplet.name)
    return [each["what"] for each in shown["droplets"][0]["result"]["broken"]]


def inspect(droplet: Droplet, form: str, name: str = "deploy-redis-1") -> str:
    return droplet.sh(f"docker inspect -f '{form}' {name}").strip()


def until(droplet: Droplet, test: str) -> None:
    """Wait on the droplet until a test holds."""
    droplet.sh(f"for _ in $(seq 200); do {test} && exit 0; sleep 0.1; done; exit 1")


def test_every_breakage_is_listed_with_what_it_takes(opsctl: Opsctl) -> None:
    (shown,) = opsctl.json("sandbox", "break", "--list")["droplets"]
    takes = {each["what"]: each["options"] for each in shown["result"]["breakages"]}
    assert takes["slow-network"] == ["--delay"]
    assert takes["oom"] == ["--service", "--victim"]
    assert {"disk-full", "docker-down", "unhealthy", "crash-loop", "network-cut", "ssh-down", "hung"} <= set(takes)


def test_an_unhealthy_service_runs_and_answers_nobody(redis: Droplet) -> None:
    break_(redis, "unhealthy", "--service", "redis")
    assert inspect(redis, "{{.State.Status}}") == "running"
    asked = redis.sh("timeout 2 docker exec deploy-redis-1 redis-cli ping; echo $?")
    assert "PONG" not in asked
    assert broken(redis) == ["unhealthy"]
    assert mend(redis) == ["unhealthy"]
    assert redis.sh("docker exec deploy-redis-1 redis-cli ping").strip() == "PONG"
    assert broken(redis) == []


def test_a_crash_loop_is_one_and_ends(redis: Droplet) -> None:
    before = inspect(redis, "{{.Id}}")
    break_(redis, "crash-loop", "--service", "redis")
    until(redis, "[ $(docker inspect -f '{{.RestartCount}}' deploy-redis-1) -ge 2 ]")
    # Between two lives there is none.
    until(redis, "[ $(docker inspect -f '{{.State.ExitCode}}' deploy-redis-1) = 1 ]")
    assert "broken by the sandbox" in redis.sh("docker logs deploy-redis-1 2>&1")
    assert mend(redis) == ["crash-loop"]
    until(redis, "docker exec deploy-redis-1 redis-cli ping 2>/dev/null | grep -q PONG")
    assert inspect(redis, "{{.Id}}") == before


def test_a_service_at_its_limit_is_killed_by_the_kernel(redis: Droplet) -> None:
    identity, pid = inspect(redis, "{{.Id}} {{.State.Pid}}").split()
    break_(redis, "oom", "--service", "redis")
    assert inspect(redis, "{{.State.Pid}}") != pid
    report = [line for line in redis.sh("dmesg").splitlines() if "oom-kill:" in line and identity in line]
    assert report, "the kernel named the container"
    assert mend(redis) == ["oom"]


def test_a_culprit_takes_all_memory_and_another_dies(redis: Droplet) -> None:
    pid = inspect(redis, "{{.State.Pid}}")
    break_(redis, "oom", "--victim", "redis")
    assert inspect(redis, "{{.State.Pid}}") != pid
    assert mend(redis) == ["oom"]
    assert redis.sh("docker ps -aq --filter name=culprit") == ""


def test_a_culprit_alone_is_blamed_and_a_proof_holds_once_it_is_mended(redis: Droplet) -> None:
    assert redis.opsctl("startup", "--only", "postgres").returncode == 0
    break_(redis, "oom")
    if redis.sh("[ -e /sys/fs/cgroup/memory/memory.oom_control ] && echo v1 || true").strip():
        until(
            redis, "[ $(docker inspect -f '{{.State.OOMKilled}}' deploy-redis-1) = true ]"
        )  # what it must not believe
    seen = redis.opsctl.json("memory", "report")["droplets"][0]["result"]
    kills = {each["service"] or each["name"]: each["oom_kills"] for each in seen["containers"]}
    assert kills == {"culprit": 1, "redis": 0, "postgres": 0}
    assert not [each for each in seen["containers"] if each["verdict"] == "at risk"]
    assert not [each["text"] for each in seen["findings"] if each["kind"] == "at-risk"]
    assert "the constraint is the limit" not in seen["summary"], "the droplet ran out, and no container's limit"
    assert [(each["victim"], each["scope"]) for each in seen["ooms"]] == [("culprit", "host")]
    assert mend(redis, "oom") == ["oom"]
    words = ("playbook", "run", "selective-startup", "--var", "all=2", "--var", "settle=1s")
    done = redis.opsctl.json(*words, timeout=600)
    assert done["exit_code"] == 0, done
    proof = next(each for each in done["droplets"][0]["result"]["steps"] if each["id"] == "proof")
    assert (proof["status"], "nothing was killed for memory since" in proof["detail"]) == ("unchanged", True), proof


def test_a_full_disk_takes_no_byte_and_keeps_what_was_there(redis: Droplet) -> None:
    before = redis.sh("cat /var/lib/opsctl/audit.jsonl")
    break_(redis, "disk-full")
    assert redis.sh("echo x > /var/lib/opsctl/x 2>&1 || echo refused", check=False).strip().endswith("refused")
    assert redis.sh("df --output=avail /var/lib/opsctl | tail -n 1").strip() == "0"
    assert redis.opsctl("stop", "redis").returncode != 0
    assert redis.running() == {"redis"}
    assert mend(redis) == ["disk-full"]
    assert redis.sh("cat /var/lib/opsctl/audit.jsonl") == before
    assert redis.opsctl("stop", "redis").returncode == 0


def test_a_service_whose_volume_is_full_cannot_write(redis: Droplet) -> None:
    redis.sh("docker exec deploy-redis-1 redis-cli set kept yes")
    break_(redis, "disk-full", "--service", "redis")
    until(redis, "docker logs deploy-redis-1 2>&1 | grep -q 'No space left on device'")
    assert mend(redis) == ["disk-full"]
    until(redis, "docker exec deploy-redis-1 redis-cli get kept 2>/dev/null | grep -q yes")


def test_without_its_engine(redis: Droplet) -> None:
    break_(redis, "docker-down")
    assert redis.opsctl("status").returncode == 4
    redis.sh("service docker start")
    assert redis.opsctl("status").returncode in (0, 7), "the engine can be started from inside, too"
    assert mend(redis) == ["docker-down"]
    assert redis.opsctl("status").returncode in (0, 7)


def answers(droplet: Droplet) -> bool:
    """By a real login: sshd shuts out whoever opens connections and drops them."""
    *words, address = droplet.ssh
    argv = [*words, "-o", "ConnectTimeout=4", address, "true"]
    return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0


def comes_back(droplet: Droplet) -> bool:
    """Whether a login succeeds within a minute: what was held back or asked again takes a busy machine its time."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if answers(droplet):
            return True
        time.sleep(1)
    return False


def test_nobody_gets_in_until_it_is_mended(droplet: Droplet) -> None:
    for what in ("network-cut", "ssh-down", "hung"):
        break_(droplet, what)
        assert not answers(droplet)
        assert mend(droplet, what) == [what]
        assert comes_back(droplet)


def test_several_faults_are_undone_the_last_one_first(droplet: Droplet) -> None:
    for what in ("network-cut", "ssh-down", "hung"):
        break_(droplet, what)
    assert broken(droplet) == ["network-cut", "ssh-down", "hung"]
    assert droplet.opsctl("sandbox", "break", "docker-down").returncode == 4, "nothing can be done to one that hangs"
    assert mend(droplet) == ["hung", "ssh-down", "network-cut"]
    assert comes_back(droplet)


def test_a_slow_network_holds_every_byte_back(droplet: Droplet) -> None:
    def seconds() -> float:
        began = time.monotonic()
        subprocess.run([*droplet.ssh, "true"], check=True, capture_output=True)
        return time.monotonic() - began

    break_(droplet, "slow-network", "--delay", "100ms")
    assert seconds() > 1.0  # a login takes five questions and answers at the least
    data = subprocess.run([*droplet.ssh, "head -c 3000000 /dev/zero"], check=True, capture_output=True).stdout
    assert len(data) == 3_000_000
    assert mend(droplet) == ["slow-network"]
    assert droplet.sh("pgrep -fc sandbox-[r]elay", check=False).strip() == "0"


def test_a_power_cycle_ends_what_ends_with_a_boot(redis: Droplet) -> None:
    break_(redis, "crash-loop", "--service", "redis")
    break_(redis, "hung")
    assert redis.opsctl("status").returncode == 4
    assert redis.opsctl("sandbox", "reboot", "--power-cycle").returncode == 0
    assert broken(redis) == ["crash-loop"]
    assert redis.opsctl("sandbox", "up", "--name", redis.name).returncode == 0
    assert broken(redis) == []
    until(redis, "docker exec deploy-redis-1 redis-cli ping 2>/dev/null | grep -q PONG")


# The engine gives a container its ports before it asks containerd for anything: one that waits there is killed in time.
KILL_ENGINE_IN_A_START = """
docker stop -t 2 deploy-redis-1 >/dev/null
engine=$(cat /run/sandbox/dockerd.pid) containerd=$(pgrep -P $(cat /run/sandbox/dockerd.pid) containerd)
kill -STOP $containerd
docker start deploy-redis-1 >/dev/null 2>&1 &
for _ in $(seq 100); do ss -Hltn 'sport = :6379' | grep -q . && break; sleep 0.05; done
sleep 0.3
kill -KILL $engine $containerd
for _ in $(seq 200); do
    [ "$(cat /run/sandbox/dockerd.pid 2>/dev/null)" != $engine ] && docker version >/dev/null 2>&1 && exit 0
    sleep 0.1
done
exit 1
"""


def test_a_port_that_a_killed_engine_holds_for_nobody_is_told_and_freed(redis: Droplet) -> None:
    redis.sh(KILL_ENGINE_IN_A_START)
    assert redis.running() == set()
    failed = redis.opsctl("startup", "--only", "redis")
    assert failed.returncode == 1, failed.stderr
    assert "port 6379 is held by the Docker engine for a container that is gone" in " ".join(failed.stderr.split())
    assert "service docker restart" in failed.stderr, "what helps is what this droplet has"
    up = redis.opsctl("sandbox", "up", "--name", redis.name)
    assert up.returncode == 0 and "its engine held port 6379 for no container" in up.stderr, up.stderr
    assert redis.opsctl("startup", "--only", "redis").returncode == 0
    again = redis.opsctl("sandbox", "up", "--name", redis.name)
    assert "held port" not in again.stderr, "a port that a container has is left alone"
    assert redis.running() == {"redis"}


def test_a_crash_loop_is_mended_although_the_engine_holds_its_port(redis: Droplet) -> None:
    break_(redis, "crash-loop", "--service", "redis")
    redis.sh(KILL_ENGINE_IN_A_START)
    assert mend(redis) == ["crash-loop"]
    until(redis, "docker exec deploy-redis-1 redis-cli ping 2>/dev/null | grep -q PONG")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("hung", Options(service="redis"), "hung takes no --service"),
        ("oom", Options(skew=5), "oom takes no --by"),
        ("unhealthy", Options(), "unhealthy needs a service"),
        ("oom", Options(service="redis", victim="postgres"), "exclude each other"),
        ("clock-skew", Options(), "no clock of its own"),
    ],
)
def test_a_fault_knows_what_it_takes(name: str, options: Options, said: str) -> None:
    with pytest.raises(OpsError, match=said):
        named(name).check(options, "container")


def test_what_cannot_be_broken_is_refused(session_droplet: Droplet) -> None:
    for words, code, said in (
        ((), 2, "break what?"),
        (("nonsense",), 2, "there is no breakage"),
        (("unhealthy", "--service", "nope"), 1, "no container of service nope runs"),
        (("slow-network", "--delay", "1h"), 2, "out of range"),
        (("hung", "-d", "other"), 2, "has no droplet 'other'"),
    ):
        done = session_droplet.opsctl("sandbox", "break", *words)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
    assert broken(session_droplet) == []
