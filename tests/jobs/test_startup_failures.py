"""What fails on a real droplet: exit codes, what is said, and what is left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Droplet
from tests.jobs.startup_droplet import DEFAULT, Small, small

from opsctl.model.cancel import Cancel

pytestmark = pytest.mark.sandbox


@pytest.fixture
def stack(droplet: Droplet, tmp_path: Path) -> Iterator[Small]:
    yield small(droplet, tmp_path)


GATE = '{phase: 1, memory: 10MB, gate: {http: ":8000/health", within: 3s}}'
CASES = [
    # service, exit code, what is said
    ("slow", 7, ("not ready in time", "HTTP 503")),
    ("crash", 7, ("exit code 3", "about to crash", "opsctl logs crash")),
    ("leaky", 7, ("killed for memory", "its own memory limit of 42 MB", "raise the limit")),
    ("noimage", 1, ("image of noimage is not on", "docker compose -f /opt/t/docker-compose.yml pull noimage")),
    ("nocommand", 1, ("could not be started", "not found")),
    ("noenv", 7, ("SOME_TOKEN_X is missing",)),
    ("sick", 7, ("unhealthy", "feeling bad")),
    ("badjob", 7, ("exit code 3",)),
]


@pytest.mark.parametrize(("service", "code", "words"), CASES, ids=[case[0] for case in CASES])
def test_a_service_that_does_not_come_up(stack: Small, service: str, code: int, words: tuple[str, ...]) -> None:
    slow = '{phase: 1, memory: 10MB, gate: {http: ":9999/no", within: 20s}}'
    stack.services("good", f"{service}: {slow if service == 'sick' else GATE}")
    done = stack.opsctl("startup")
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    for word in words:
        assert word in said
    assert "why" in done.stderr and "next" in done.stderr and "Traceback" not in done.stderr.split("log ")[0]
    assert stack.lease_is_free()
    assert stack.state(service) not in ("running", "restarting")  # what failed is stopped
    if code == 7:
        assert '"exit_code":7' in stack.audit()[-1]


def test_a_port_that_is_taken(stack: Small) -> None:
    stack.services("port1", "port2")
    done = stack.opsctl("startup")
    assert done.returncode == 1
    assert "port 7777 is taken by container t-port" in done.stderr


def test_json_tells_the_same_and_nothing_else_on_stdout(stack: Small) -> None:
    stack.services(f"slow: {GATE}")
    document = stack.opsctl.json("startup")
    (droplet,) = document["droplets"]
    assert document["exit_code"] == 7 and not document["ok"] and not droplet["ok"]
    assert droplet["error"]["code"] == "gate-timeout"
    (service,) = droplet["result"]["services"]
    assert service["outcome"] == "failed"
    gate = next(step for step in droplet["result"]["run"]["steps"] if step["id"] == "gate:slow")
    assert gate["diagnosis"]["status"] == "running" and gate["diagnosis"]["log"]


def test_it_waits_on_while_only_another_is_killed_for_memory(stack: Small) -> None:
    """Where the droplet runs out, engines on cgroup v1 report that of every container."""
    stack.services('good: {phase: 1, memory: 10MB, gate: {command: ["test", "-e", "/tmp/go"], within: 120s}}')
    process = stack.opsctl.start("startup")
    stack.droplet.sh("until docker exec t-good-1 true 2>/dev/null; do sleep 0.1; done")
    broken = stack.droplet.opsctl("sandbox", "break", "oom")
    assert broken.returncode == 0, broken.stderr
    told = "docker events --since 5m --until 0s --filter event=oom --format '{{.Actor.Attributes.name}}'"
    if stack.droplet.sh("[ -e /sys/fs/cgroup/memory/memory.oom_control ] && echo v1 || true").strip():
        stack.droplet.sh(f"until {told} | grep -q t-good-1; do sleep 0.1; done")
    assert stack.droplet.opsctl("sandbox", "mend", "oom").returncode == 0
    stack.droplet.sh("docker exec t-good-1 touch /tmp/go")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert "killed for memory" not in out + err


def test_keep_leaves_it_and_rollback_takes_everything_back(stack: Small) -> None:
    stack.services("good", "slow: " + DEFAULT.replace("phase: 1", "phase: 2").replace("20s", "2s"))
    assert stack.opsctl("startup", "--on-failure", "keep").returncode == 7
    assert (stack.state("good"), stack.state("slow")) == ("running", "running")
    assert stack.opsctl("stop", "--yes").returncode == 0
    stack.droplet.sh("docker rm -f t-good-1 t-slow-1")
    assert stack.opsctl("startup", "--on-failure", "rollback").returncode == 7
    assert (stack.state("good"), stack.state("slow")) == ("", "")


def test_what_was_up_before_is_no_part_of_a_rollback(stack: Small) -> None:
    stack.services("good", f"slow: {GATE}")
    assert stack.opsctl("startup", "--only", "good").returncode == 0
    assert stack.opsctl("startup", "--on-failure", "rollback").returncode == 7
    assert (stack.state("good"), stack.state("slow")) == ("running", "")


def test_a_phase_that_does_not_fit_says_what_would_make_room(stack: Small) -> None:
    wide = "good2: {phase: 2, memory: 1GB, gate: {http: ':8000/health'}}"
    stack.services(
        "good", wide, "slow: {memory: 10MB}", reserve="1500MB", more='redundant: {slow: "nobody needs it"}\n'
    )
    stack.droplet.sh("docker compose -f /opt/t/docker-compose.yml up -d slow 2>/dev/null")
    done = stack.opsctl("startup")
    assert done.returncode == 7, done.stderr
    assert "phase 2 does not fit: needs 1000 MB + reserve 1500 MB" in done.stderr
    assert "good2 1000 MB (stack file)" in done.stderr
    assert "opsctl stop slow" in done.stderr and "nobody needs it" in done.stderr
    assert (stack.state("good"), stack.state("good2") in ("", "created")) == ("running", True)
    assert stack.opsctl("startup", "--ignore-memory").returncode == 0


def test_one_by_one_stops_before_the_one_that_does_not_fit(stack: Small) -> None:
    more = "one_by_one: true, optional: true, gate: {http: ':8000/health'}}"
    stack.services(
        f"good: {{phase: 1, memory: 10MB, {more}",
        f"good2: {{phase: 1, memory: 9GB, {more}",
        f"later: {{phase: 1, memory: 1MB, {more}",
    )
    done = stack.opsctl("startup")
    assert done.returncode == 0, done.stderr
    assert "good2 does not fit: needs" in done.stderr
    assert (stack.state("good"), stack.state("later") in ("", "created")) == ("running", True)


def test_an_optional_service_that_fails_does_not_hold_up_the_others(stack: Small) -> None:
    stack.services("crash: " + GATE.replace("phase: 1,", "phase: 1, optional: true,"), "good: {phase: 2, memory: 1MB}")
    document = stack.opsctl.json("startup")
    assert document["exit_code"] == 7
    services = {each["service"]: each["outcome"] for each in document["droplets"][0]["result"]["services"]}
    assert services == {"crash": "failed", "good": "changed"}
    assert (stack.state("crash"), stack.state("good")) == ("exited", "running")


def test_what_falls_over_while_the_next_phase_comes_up_is_a_failure(stack: Small) -> None:
    stack.services("falls", "later: " + DEFAULT.replace("phase: 1", "phase: 2"))
    done = stack.opsctl("startup")
    assert done.returncode == 7, done.stdout + done.stderr
    assert "falls was up and then fell over" in done.stderr
    assert stack.opsctl("stop", "--yes").returncode == 0
    settled = stack.opsctl("startup", "--phase", "1", "--settle", "4s")
    assert settled.returncode == 7, settled.stdout + settled.stderr


def test_a_one_shot_is_waited_for_and_counts_as_up(stack: Small) -> None:
    stack.services("job: {phase: 1, memory: 1MB}", "afterjob: {phase: 1, memory: 1MB, gate: {http: ':8000/health'}}")
    assert stack.opsctl("startup").returncode == 0
    assert (stack.state("job"), stack.state("afterjob")) == ("exited", "running")
    again = stack.opsctl.json("startup")
    assert {each["outcome"] for each in again["droplets"][0]["result"]["services"]} == {"unchanged"}


def test_then_commands_run_after_the_gate_and_their_failure_is_a_failure(stack: Small) -> None:
    then = "then: [{command: [sh, -c, 'echo done >/tmp/then']}]"
    stack.services("good: " + DEFAULT.replace("memory", f"{then}, memory"))
    assert stack.opsctl("startup").returncode == 0
    assert stack.droplet.sh("docker exec t-good-1 cat /tmp/then").strip() == "done"
    stack.services("good2: " + DEFAULT.replace("memory", "then: [{command: [sh, -c, 'echo oh no; exit 4']}], memory"))
    done = stack.opsctl("startup")
    assert done.returncode == 1 and "exit status 4" in done.stderr and "oh no" in done.stderr


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_cleanly_and_the_next_run_goes_on(stack: Small, signum: signal.Signals, code: int) -> None:
    stack.services("good", "later: " + DEFAULT.replace("phase: 1", "phase: 2"))
    process = stack.opsctl.start("startup")
    for line in iter(process.stderr.readline, ""):  # type: ignore[union-attr]
        if "phase 2" in line:
            break
    process.send_signal(signum)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "interrupted" in err
    assert stack.lease_is_free()
    assert '"outcome":"interrupted"' in stack.audit()[-1]
    assert stack.opsctl("startup").returncode == 0
    assert (stack.state("good"), stack.state("later")) == ("running", "running")


def test_a_killed_owner_leaves_no_lease_and_is_closed_as_abandoned(stack: Small) -> None:
    stack.services("good", "slow: " + DEFAULT.replace("phase: 1", "phase: 2").replace("20s", "300s"))
    process = stack.opsctl.start("startup")
    for line in iter(process.stderr.readline, ""):  # type: ignore[union-attr]
        if "phase 2" in line:
            break
    process.kill()
    process.wait()
    wait = Cancel(60)
    while not stack.lease_is_free() and not wait.wait(0.2):
        pass
    assert stack.lease_is_free()
    stack.services("good")
    assert stack.opsctl("restart", "good").returncode == 0
    assert any('"outcome":"abandoned"' in line for line in stack.audit())


def test_a_held_lease_is_exit_6_and_says_who(stack: Small) -> None:
    stack.services("good", "slow: " + DEFAULT.replace("20s", "300s"))
    process = stack.opsctl.start("startup")
    for line in iter(process.stderr.readline, ""):  # type: ignore[union-attr]
        if "slow" in line and "503" in line:
            break
    try:
        other = stack.opsctl("restart", "good")
        assert other.returncode == 6, other.stderr
        assert "opsctl startup" in other.stderr
        assert stack.opsctl("startup", "--dry-run").returncode == 0  # reading takes no lease
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_the_engine_down_and_back(stack: Small) -> None:
    stack.services("good")
    stack.droplet.sh("droplet-service stop dockerd")
    try:
        done = stack.opsctl("startup")
        assert done.returncode == 4, done.stderr
        assert "does not answer" in done.stderr
    finally:
        stack.droplet.sh("droplet-service start dockerd; until docker info >/dev/null 2>&1; do sleep 0.2; done")
    assert stack.opsctl("startup").returncode == 0


def test_a_compose_file_that_is_missing_or_broken(stack: Small) -> None:
    stack.services("good")
    stack.droplet.sh("mv /opt/t/docker-compose.yml /opt/t/kept")
    missing = stack.opsctl("startup")
    assert missing.returncode == 3 and "missing" in missing.stderr
    stack.droplet.sh("echo 'services: {good: {imag: x}}' >/opt/t/docker-compose.yml")
    broken = stack.opsctl("startup")
    assert broken.returncode == 3 and "imag" in broken.stderr


def test_no_compose_file_named_the_running_project_is_adopted(stack: Small) -> None:
    stack.services("good")
    assert stack.opsctl("startup").returncode == 0
    stack.file.write_text("\n".join(line for line in stack.file.read_text().splitlines() if "compose:" not in line))
    stack.droplet.sh("docker stop t-good-1")
    assert stack.opsctl("startup").returncode == 0
    assert stack.state("good") == "running"


def test_names_that_the_stack_does_not_have(stack: Small) -> None:
    stack.services("good")
    for words in (("startup", "--only", "god"), ("stop", "god"), ("restart", "god")):
        done = stack.opsctl(*words)
        assert done.returncode == 2 and "did you mean good?" in done.stderr


def test_a_connection_that_is_cut_leaves_no_lease_and_the_next_run_goes_on(stack: Small) -> None:
    stack.services("good", "later: " + DEFAULT.replace("phase: 1", "phase: 2"))
    process = stack.opsctl.start("startup")
    for line in iter(process.stderr.readline, ""):  # type: ignore[union-attr]
        if "phase 2" in line:
            break
    ours = "ps -eo pid,ppid,args | awk '/sshd-session: root@notty/ && !/awk/ {print $1}'"
    stack.droplet.sh(f"for pid in $({ours}); do [ $pid = $PPID ] || kill -9 $pid; done", check=False)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert "connection" in err and "Traceback" not in err
    assert stack.lease_is_free()
    assert stack.opsctl("startup").returncode == 0
    assert stack.opsctl("restart", "good").returncode == 0  # what was only waiting for is no change, and closes nothing
    assert any('"outcome":"abandoned"' in line for line in stack.audit())
