"""`opsctl status` on a real droplet: what runs, what crashed, what is nobody's."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from tests.conftest import Droplet

from opsctl.cli import schema

COMPOSE = "cd /opt/Dev-Tools/deploy && docker compose"


def services(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in document["droplets"][0]["result"]["services"]}


@pytest.mark.sandbox
def test_from_nothing_to_a_broken_stack(droplet: Droplet) -> None:
    nothing = droplet.opsctl("status", "--check")
    assert nothing.returncode == 0
    assert "Nothing of the stack runs" in nothing.stdout
    assert "opsctl startup --phase 1" in nothing.stdout

    droplet.sh(f"{COMPOSE} up -d --no-deps redis postgres gateway-mcp 2>&1")
    droplet.sh("docker run -d --name stray devtools/redis:8 sleep 600")
    droplet.sh("for i in $(seq 300); do curl -sf 127.0.0.1:8000/health >/dev/null && exit; sleep 0.1; done; exit 1")
    up = droplet.opsctl.json("status", "--check")
    jsonschema.validate(up, schema.document("status"))
    found = services(up)
    assert {found[name]["level"] for name in ("redis", "postgres", "gateway-mcp")} == {"ok"}, found
    assert found["gateway-mcp"]["memory"] > 100_000_000
    assert found["orchestrator"]["state"] == "not created"
    assert [each["name"] for each in up["droplets"][0]["result"]["others"]] == ["stray"]

    droplet.sh("docker stop -t 1 deploy-redis-1")
    stopped = droplet.opsctl("status", "--check")
    assert stopped.returncode == 7
    assert "redis does not run (stopped)" in stopped.stdout
    assert droplet.opsctl("status").returncode == 0

    override = "services: {agent-registry: {environment: {CRASH_AFTER: '0.2'}, restart: 'no'}}"
    droplet.sh(
        f'echo "{override}" >/tmp/o.yml; {COMPOSE} -f docker-compose.yml -f /tmp/o.yml up -d --no-deps agent-registry'
    )
    droplet.sh("docker wait deploy-agent-registry-1")
    crashed = services(droplet.opsctl.json("status"))["agent-registry"]
    assert (crashed["state"], crashed["level"], crashed["exit_code"]) == ("exited 1", "bad", 1)
    assert crashed["differs"] is True


@pytest.mark.sandbox
def test_without_the_compose_file_the_containers_are_shown(droplet: Droplet) -> None:
    droplet.sh(f"{COMPOSE} up -d --no-deps redis 2>&1; mv /opt/Dev-Tools/deploy/docker-compose.yml /tmp/away.yml")
    try:
        shown = droplet.opsctl("status")
        assert shown.returncode == 3
        assert "deploy-redis-1" in shown.stdout
        assert "docker-compose.yml" in shown.stderr
    finally:
        droplet.sh("mv /tmp/away.yml /opt/Dev-Tools/deploy/docker-compose.yml")
