"""Containers as `docker container inspect` describes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opsctl.docker.inspect import TEMPLATE, oom_killed, parse_containers

FULL: dict[str, Any] = {
    "id": "abc",
    "name": "/p-db-1",
    "labels": {
        "com.docker.compose.service": "db",
        "com.docker.compose.project": "p",
        "com.docker.compose.project.config_files": "/a.yml,/b.yml",
        "com.docker.compose.project.working_dir": "/w",
        "com.docker.compose.config-hash": "hash",
        "com.docker.compose.oneoff": "False",
    },
    "image": "db:1",
    "image_id": "sha256:1",
    "state": {
        "Status": "running",
        "OOMKilled": False,
        "Pid": 7,
        "ExitCode": 0,
        "StartedAt": "2026-11-20T19:00:26.08Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": {"Status": "healthy", "Log": [{"ExitCode": 0, "Output": "ok\n", "End": "e"}] * 5},
    },
    "restarts": 2,
    "policy": "always",
    "memory": 268435456,
    "bindings": {
        "5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15432"}],
        "80/tcp": [{"HostIp": "", "HostPort": ""}],
    },
    "published": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}], "53/udp": [{"HostIp": "", "HostPort": "53"}]},
    "networks": {"default": {"IPAddress": "172.18.0.6"}, "other": {"IPAddress": ""}},
    "health": {"Test": ["CMD-SHELL", "pg_isready"]},
}


def test_a_running_container_of_compose() -> None:
    (found,) = parse_containers(json.dumps(FULL))
    assert (found.service, found.project, found.name, found.status, found.health) == (
        "db",
        "p",
        "p-db-1",
        "running",
        "healthy",
    )
    assert found.config_files == ("/a.yml", "/b.yml") and not found.oneoff
    assert found.ports == {5432: ("127.0.0.1", 15432), 80: ("0.0.0.0", 32768)}
    assert found.addresses == ("172.18.0.6",)
    assert found.finished_at == "" and found.started_at.startswith("2026")
    assert len(found.health_log) == 3 and found.health_test == ("CMD-SHELL", "pg_isready")


def test_a_container_outside_compose_with_nothing_but_an_id() -> None:
    (found,) = parse_containers(
        json.dumps({"id": "x", "name": "/lone", "labels": None, "state": {"Status": "created"}})
    )
    assert (found.service, found.project, found.health, found.restart_policy) == ("", "", "", "no")


def test_lines_that_are_not_containers_are_left_out_and_the_rest_is_sorted() -> None:
    other = {**FULL, "id": "y", "name": "/a"}
    text = f"Error: No such container: z\n{json.dumps(FULL)}\n{json.dumps(other)}\n"
    assert [each.name for each in parse_containers(text)] == ["a", "p-db-1"]


def test_the_template_does_not_ask_for_the_environment() -> None:
    assert "Env" not in TEMPLATE and ".Config.Cmd" not in TEMPLATE


# What engine 26.1 said on cgroup v1 after a droplet of 2 GB had run out: the kernel had killed the culprit alone.
SPARED = (
    '{"Dead":false,"Error":"","ExitCode":0,"FinishedAt":"0001-01-01T00:00:00Z","OOMKilled":true,"Paused":false,'
    '"Pid":697,"Restarting":false,"Running":true,"StartedAt":"2026-11-28T21:32:30.32108467Z","Status":"running"}'
)
CULPRIT = (
    '{"Dead":false,"Error":"","ExitCode":137,"FinishedAt":"2026-11-28T21:33:56.81609345Z","OOMKilled":true,'
    '"Paused":false,"Pid":0,"Restarting":false,"Running":false,"StartedAt":"2026-11-28T21:33:47.940820784Z",'
    '"Status":"exited"}'
)


@pytest.mark.parametrize(
    ("state", "killed"),
    [
        (json.loads(CULPRIT), True),
        (json.loads(CULPRIT) | {"OOMKilled": False}, False),
        (json.loads(CULPRIT) | {"Status": "restarting", "Restarting": True, "Running": True}, True),
        (json.loads(CULPRIT) | {"ExitCode": 0}, False),
        (json.loads(CULPRIT) | {"ExitCode": 143}, False),
        (json.loads(SPARED), False),
        (json.loads(SPARED) | {"Status": "paused", "Paused": True}, False),
        ({}, False),
    ],
)
def test_the_engines_mark_counts_for_one_that_ended_and_not_as_it_was_told(
    state: dict[str, Any], *, killed: bool
) -> None:
    assert oom_killed(state) is killed
