"""`opsctl doctor` as it is typed: here, on a droplet that works, and on broken ones."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from tests.conftest import Droplet, Opsctl

from opsctl.cli import schema


def by_name(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    (droplet,) = document["droplets"]
    return {(each["area"], each["name"]): each for each in droplet["result"]["checks"]}


def test_without_a_stack_file_this_machine_is_examined(opsctl: Opsctl) -> None:
    document = opsctl.json("doctor")
    assert document["exit_code"] == 3
    checks = by_name(document)
    assert checks["this machine", "opsctl"]["verdict"] == "ok"
    assert checks["this machine", "stack file"]["verdict"] == "failed"


def test_an_unreachable_droplet_leaves_the_rest_unknown(opsctl: Opsctl) -> None:
    document = opsctl.json("doctor", "-d", "root@127.0.0.1:9")
    jsonschema.validate(document, schema.document("doctor"))
    assert document["exit_code"] == 4
    checks = by_name(document)
    assert checks["connection", "login"]["verdict"] == "failed"
    assert checks["connection", "login"]["mend"]
    assert {checks[area, area]["verdict"] for area in ("host", "Docker", "stack")} == {"unknown"}


def test_this_machine_as_a_droplet(opsctl: Opsctl) -> None:
    document = opsctl.json("doctor", "-d", "local")
    checks = by_name(document)
    assert checks["connection", "login"]["verdict"] == "ok"
    assert checks["host", "bash"]["verdict"] == "ok"


@pytest.mark.sandbox
def test_a_droplet_that_works_and_then_does_not(droplet: Droplet) -> None:
    compose = "cd /opt/Dev-Tools/deploy && docker compose"
    droplet.sh(f"{compose} up -d --no-deps redis postgres 2>&1; docker run -d --name stray devtools/redis:8 sleep 600")
    ready = "docker exec deploy-postgres-1 pg_isready -qh 127.0.0.1"
    droplet.sh(f"for i in $(seq 300); do {ready} && exit; sleep 0.1; done; exit 1")
    checks = by_name(droplet.opsctl.json("doctor"))
    for area, name in (
        ("connection", "login"),
        ("connection", "clock"),
        ("host", "flock"),
        ("Docker", "engine"),
        ("Docker", "compose"),
        ("stack", "compose file"),
        ("stack", "images"),
        ("stack", "variables"),
        ("stack", "redis"),
        ("gates", "redis"),
        ("gates", "postgres"),
    ):
        assert checks[area, name]["verdict"] == "ok", checks[area, name]
    assert "stray" in checks["Docker", "log rotation"]["detail"]

    shown = droplet.opsctl("doctor")
    assert "answers PING" in shown.stdout
    assert shown.returncode == 0

    droplet.sh("docker kill --signal STOP deploy-redis-1")  # runs, and answers nobody
    broken = droplet.opsctl.json("doctor")
    assert broken["exit_code"] == 7
    assert by_name(broken)["gates", "redis"]["verdict"] == "failed"
    droplet.sh("docker rm -f deploy-redis-1")

    droplet.sh("mv /opt/Dev-Tools/deploy/docker-compose.yml /tmp/away.yml")
    try:
        broken = droplet.opsctl.json("doctor")
        assert broken["exit_code"] == 3
        assert by_name(broken)["stack", "compose file"]["verdict"] == "failed"
    finally:
        droplet.sh("mv /tmp/away.yml /opt/Dev-Tools/deploy/docker-compose.yml")


@pytest.mark.sandbox
def test_without_an_engine_the_host_is_examined_all_the_same(droplet: Droplet) -> None:
    droplet.sh("droplet-service stop dockerd")
    try:
        document = droplet.opsctl.json("doctor")
        checks = by_name(document)
        assert document["exit_code"] == 4
        assert checks["host", "memory"]["verdict"] in ("ok", "warning")
        assert checks["Docker", "engine"]["verdict"] == "failed"
        assert checks["stack", "stack"]["verdict"] == "unknown"
        assert droplet.opsctl("status").returncode == 4
    finally:
        droplet.sh(
            "droplet-service start dockerd; for i in $(seq 100); do docker info >/dev/null && exit; sleep 0.1; done"
        )


@pytest.mark.sandbox
@pytest.mark.parametrize(("user", "words"), [("alex", "through sudo"), ("deploy", "as deploy")])
def test_other_users(droplet: Droplet, user: str, words: str) -> None:
    there = droplet.stack_file.with_name(f"{user}.yaml")
    there.write_text(droplet.stack_file.read_text().replace("root@127.0.0.1", f"{user}@127.0.0.1"))
    checks = by_name(droplet.opsctl.json("doctor", "--stack", str(there)))
    assert words in checks["connection", "login"]["detail"]
    assert checks["Docker", "engine"]["verdict"] == "ok"
    folder = checks["host", "state folder"]
    assert folder["verdict"] == ("ok" if user == "alex" else "warning")
    assert user == "alex" or "install -d" in folder["mend"]
