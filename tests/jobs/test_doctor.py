"""What doctor makes of what a host, Docker and compose say; and a whole examination of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opsctl.hosts import connect
from opsctl.jobs import doctor_docker, doctor_host, doctor_stack
from opsctl.jobs.doctor_checks import Area, sections, version
from opsctl.model.cancel import Cancel
from opsctl.model.engine import ProbeState
from opsctl.model.errors import ConfigError, ExitCode
from opsctl.model.examination import Check, Examination, Verdict
from opsctl.model.ports import GuardSpec
from opsctl.model.stack import Droplet, Service, Stack

DROPLET = Droplet("agents", "root@203.0.113.7")
STACK = Stack(
    None, {"agents": DROPLET}, {"postgres": Service("postgres", phase=1), "review": Service("review", phase=3)}
)
GB = 10**9
MEMINFO = "MemTotal: 2000000 kB\nMemAvailable: 1000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB"
HOST = {
    "os": "Debian GNU/Linux 13 (trixie)\n6.12.9\nx86_64",
    "tools": "/usr/bin/flock\n/usr/bin/curl\n/usr/bin/base64\n/usr/bin/stdbuf\n/usr/bin/timeout\n/usr/bin/setsid",
    "bash": "5.2.37(1)-release",
    "python": "3.13.5",
    "writable": "yes",
    "disk": f"Filesystem 1B-blocks Used Available Use% Mounted on\n/dev/vda1 {40 * GB} {10 * GB} {30 * GB} 25% /",
    "meminfo": MEMINFO,
    "pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0",
    "journal": "persistent",
    "cpus": "2",
}


def verdicts(checks: tuple[Check, ...]) -> dict[str, Verdict]:
    return {each.name: each.verdict for each in checks}


def host(**more: str) -> dict[str, Verdict]:
    return verdicts(doctor_host.judge({**HOST, **more}, DROPLET))


def test_a_good_host() -> None:
    assert set(host().values()) == {Verdict.OK}


@pytest.mark.parametrize(
    ("name", "more", "verdict"),
    [
        ("flock", {"tools": "/usr/bin/curl"}, Verdict.FAILED),
        ("curl", {"tools": "/usr/bin/flock"}, Verdict.WARNING),
        ("tools", {"tools": "/usr/bin/flock /usr/bin/curl"}, Verdict.WARNING),
        ("state folder", {"writable": ""}, Verdict.WARNING),
        ("disk /", {"disk": f"/dev/vda1 {40 * GB} {39 * GB} {1 * GB} 97% /"}, Verdict.FAILED),
        ("disk /", {"disk": f"/dev/vda1 {10 * GB} {8 * GB} {19 * GB // 10} 81% /"}, Verdict.WARNING),
        ("inodes /", {"inodes": "/dev/vda1 1000000 990000 10000 99% /"}, Verdict.FAILED),
        ("memory", {"meminfo": MEMINFO.replace("1000000", "90000")}, Verdict.WARNING),
        ("memory", {"meminfo": ""}, Verdict.UNKNOWN),
        ("pressure", {"pressure": ""}, Verdict.WARNING),
        ("journal", {"journal": ""}, Verdict.WARNING),
        ("time service", {"synced": "no"}, Verdict.WARNING),
    ],
)
def test_what_is_not_as_it_should_be(name: str, more: dict[str, str], verdict: Verdict) -> None:
    assert host(**more)[name] is verdict


def test_everything_wrong_says_what_mends_it() -> None:
    checks = doctor_host.judge({}, DROPLET)
    assert all(each.mend for each in checks if each.verdict in (Verdict.WARNING, Verdict.FAILED))


def test_leases() -> None:
    held = json.dumps({"user": "ada", "from": "laptop", "command": "opsctl startup"})
    checks = doctor_host.judge_leases(f"stack held {held}\ndata:redis free \nx free {held}")
    assert [each.verdict for each in checks] == [Verdict.WARNING, Verdict.OK, Verdict.OK]
    assert "ada from laptop (opsctl startup)" in checks[0].detail
    assert "cut off" in checks[2].detail
    assert verdicts(doctor_host.judge_leases("")) == {"lease": Verdict.OK}


def test_a_lease_that_is_really_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_host, "STATE_DIR", str(tmp_path))
    droplet = Droplet("here", "local")
    owner, other = (connect(droplet, state_dir=str(tmp_path)) for _ in range(2))
    try:
        guard = owner.guard(GuardSpec("stack", "run-1", {"user": "ada"}), cancel=Cancel(30))
        assert verdicts(doctor_host.look(other, droplet, cancel=Cancel(30)))["lease stack"] is Verdict.WARNING
        guard.release()
        assert verdicts(doctor_host.look(other, droplet, cancel=Cancel(30)))["lease stack"] is Verdict.OK
    finally:
        owner.close()
        other.close()


def container(name: str, **more: Any) -> str:
    values: dict[str, Any] = {
        "name": f"/deploy-{name}-1",
        "labels": {"com.docker.compose.service": name},
        "log": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "restart": "no",
        "memory": 256 * 2**20,
        "running": True,
    }
    return json.dumps({**values, **more})


def docker(*containers: str, compose: str = "v2.26.1", **more: str) -> tuple[Check, ...]:
    info = {"Driver": "overlay2", "CgroupVersion": "2", "CgroupDriver": "systemd", "MemTotal": 2 * GB}
    plugins = [{"Name": "compose", "Version": compose}] if compose else []
    found = {
        "which": "/usr/bin/docker",
        "ping": "26.1.5 1.45",
        "pinged": "0",
        "info": json.dumps({**info, "DockerRootDir": "/var/lib/docker", "ClientInfo": {"Plugins": plugins}}),
        "containers": "\n".join(containers),
    }
    return doctor_docker.judge({**found, **more}, STACK)


def test_a_good_docker() -> None:
    assert set(verdicts(docker(container("postgres"), container("review"))).values()) == {Verdict.OK}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("engine", {"which": ""}),
        ("engine", {"pinged": "1", "ping": "Cannot connect to the Docker daemon"}),
        ("engine", {"pinged": "1", "ping": "permission denied"}),
        ("engine", {"ping": "19.03.5 1.40"}),
        ("compose", {"compose": ""}),
        ("compose", {"compose": "2.5.0"}),
        ("compose", {"compose": "", "which": "/usr/bin/docker\n/usr/bin/docker-compose"}),
    ],
)
def test_without_engine_or_compose_opsctl_exits_4(name: str, more: dict[str, str]) -> None:
    checks = docker(**more)
    assert verdicts(checks)[name] is Verdict.FAILED
    assert Examination(checks).exit_code is ExitCode.UNREACHABLE
    assert all(each.mend for each in checks if each.verdict is Verdict.FAILED)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("kind", {"info": json.dumps({"SecurityOptions": ["name=rootless"], "Driver": "overlay2"})}),
        ("kind", {"info": json.dumps({"DockerRootDir": "/var/snap/docker/common", "Driver": "overlay2"})}),
        ("storage", {"info": json.dumps({"Driver": "vfs"})}),
        (
            "memory limits",
            {"info": json.dumps({"Driver": "overlay2", "Warnings": ["WARNING: No memory limit support"]})},
        ),
    ],
)
def test_a_docker_that_will_hurt(name: str, more: dict[str, str]) -> None:
    assert verdicts(docker(**more))[name] is Verdict.WARNING


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("log rotation", {"log": {"Type": "json-file", "Config": {}}}),
        ("restart policies", {"restart": "always"}),
        ("memory limits", {"memory": 2 * GB}),
        ("no memory limit", {"memory": 0}),
    ],
)
def test_containers_that_will_hurt(name: str, more: dict[str, Any]) -> None:
    checks = docker(container("postgres"), container("review", **more))
    (found,) = (each for each in checks if each.name == name)
    assert found.verdict is Verdict.WARNING
    assert "review" in found.detail
    assert "postgres" not in found.detail
    assert found.mend


def test_how_large_a_log_can_become() -> None:
    assert doctor_docker.rotation({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}) == 30 * 2**20
    assert doctor_docker.rotation({"Type": "json-file", "Config": {"max-size": "-1"}}) is None
    assert doctor_docker.rotation({"Type": "json-file", "Config": None}) is None
    assert doctor_docker.rotation({"Type": "local", "Config": {}}) == 0


def test_unset_variables_are_found_in_composes_warnings() -> None:
    said = (
        'time="2026-11-20T18:00:00Z" level=warning msg="The \\"QDRANT_URL\\" variable is not set. Defaulting to a blank'
        ' string."\nWARN[0000] The "API_KEY" variable is not set. Defaulting to a blank string.\n'
        'WARN[0000] The "API_KEY" variable is not set. Defaulting to a blank string.'
    )
    assert doctor_stack.unset_variables(said) == ["QDRANT_URL", "API_KEY"]


def test_env_files_of_every_spelling() -> None:
    text = """@@/opt/deploy/docker-compose.yml
services:
  a: {env_file: ../config/.env}
  b: {env_file: [b.env, /etc/c.env]}
  c: {env_file: [{path: d.env, required: false}, {path: "${WHERE}/e.env"}]}
  d:
"""
    assert doctor_stack.env_files(text) == {
        "/opt/deploy/.env": False,
        "/opt/config/.env": True,
        "/opt/deploy/b.env": True,
        "/etc/c.env": True,
        "/opt/deploy/d.env": False,
    }
    assert doctor_stack.env_files("@@/opt/x.yml\n: not: yaml: [") == {"/opt/.env": False}


def test_gates_that_did_not_pass_exit_7() -> None:
    states = {"a": ProbeState("a", "passed", "HTTP 200"), "b": ProbeState("b", "timeout", "HTTP 503")}
    checks = doctor_stack.judge_gates(["a", "b", "c"], states)
    assert [each.verdict for each in checks] == [Verdict.OK, Verdict.FAILED, Verdict.UNKNOWN]
    assert Examination(checks).exit_code is ExitCode.GATE


def test_the_weightiest_failure_decides() -> None:
    area = Area("x")
    area.failed("gate", "", "")
    area.error("file", ConfigError("broken", path="opsctl.yaml", line=3))
    area.warning("disk", "", "")
    assert Examination(tuple(area.checks)).exit_code is ExitCode.CONFIG
    assert area.checks[1].detail == "opsctl.yaml:3: broken"
    assert Examination(()).exit_code is ExitCode.DONE


def test_output_is_cut_at_its_marks() -> None:
    assert sections("noise\n@@a\n1\n2\n\n@@b\n@@c\n3\n") == {"a": "1\n2", "b": "", "c": "3"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("v2.26.1-4", (2, 26, 1)), ("20.10.24+dfsg1", (20, 10, 24)), ("", ()), ("unknown", ()), ("3.11", (3, 11))],
)
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    assert version(text) == numbers
