"""The main job on a real droplet: the sandbox's own stack."""

from __future__ import annotations

import pytest
from tests.conftest import Droplet

pytestmark = pytest.mark.sandbox

PHASE_2 = {"postgres", "redis", "gateway-mcp", "orchestrator"}
IDS = "docker ps -aq --no-trunc | sort"


def outcomes(document: dict) -> dict[str, str]:  # type: ignore[type-arg]
    return {each["service"]: each["outcome"] for each in document["droplets"][0]["result"]["services"]}


def test_phase_2_from_nothing_then_again_then_beside_compose(droplet: Droplet) -> None:
    first = droplet.opsctl.json("startup", "--phase", "2")
    assert first["exit_code"] == 0, first
    assert outcomes(first) == dict.fromkeys(sorted(PHASE_2), "changed") | {}
    assert droplet.running() == PHASE_2
    tables = droplet.sh(
        "docker exec deploy-postgres-1 psql -U devtools -d devtools -Atc "
        "\"select count(*) from information_schema.tables where table_schema = 'checkpoints'\""
    )
    assert int(tables) >= 4
    audit = droplet.sh("cat /var/lib/opsctl/audit.jsonl").splitlines()
    assert len(audit) == 2 and '"event":"begin"' in audit[0] and '"outcome":"done"' in audit[1]

    before = droplet.sh(IDS)
    again = droplet.opsctl.json("startup", "--phase", "2")
    assert again["exit_code"] == 0
    assert set(outcomes(again).values()) == {"unchanged"}
    assert droplet.sh("cat /var/lib/opsctl/audit.jsonl").splitlines() == audit
    assert len(droplet.sh("ls /var/lib/opsctl/runs").split()) == 1

    # A plain `docker compose up` recreates nothing of ours, and startup nothing of compose's.
    dry = droplet.sh("cd /opt/Dev-Tools/deploy && docker compose --dry-run up --no-start 2>&1")
    assert "Recreate" not in dry
    droplet.sh("cd /opt/Dev-Tools/deploy && docker compose up -d --wait redis orchestrator >/dev/null 2>&1")
    third = droplet.opsctl.json("startup", "--phase", "2")
    assert set(outcomes(third).values()) == {"unchanged"} and droplet.sh(IDS) == before


def test_a_dry_run_changes_nothing_and_shows_the_plan_that_is_executed(droplet: Droplet) -> None:
    dry = droplet.opsctl.json("startup", "--phase", "1", "--dry-run")
    assert droplet.sh("docker ps -aq") == "" and droplet.sh("ls /var/lib/opsctl 2>/dev/null || true") == ""
    real = droplet.opsctl.json("startup", "--phase", "1")
    assert dry["droplets"][0]["result"]["plan"] == real["droplets"][0]["result"]["plan"]


def test_only_starts_that_service_and_nothing_else(droplet: Droplet) -> None:
    done = droplet.opsctl("startup", "--only", "gateway-mcp")
    assert done.returncode == 0, done.stderr
    assert droplet.running() == {"gateway-mcp"}


def test_stop_and_restart(droplet: Droplet) -> None:
    assert droplet.opsctl("startup", "--phase", "1").returncode == 0
    started = "docker inspect -f '{{.Id}} {{.State.StartedAt}}' deploy-gateway-mcp-1"
    before = droplet.sh(started)
    again = droplet.opsctl.json("restart", "gateway-mcp")
    assert again["exit_code"] == 0, again
    assert outcomes(again) == {"gateway-mcp": "changed"}
    after = droplet.sh(started)
    assert before.split()[0] == after.split()[0] and before != after

    refused = droplet.opsctl("stop")
    assert refused.returncode == 2 and "--yes" in refused.stderr
    stopped = droplet.opsctl.json("stop", "--yes")
    assert stopped["exit_code"] == 0 and droplet.running() == set()
    left = [each["droplets"][0]["result"]["memory_available"] for each in (again, stopped)]
    assert left[0] < left[1], "what was stopped gave its memory back, and the figure is from after it"
    assert set(outcomes(droplet.opsctl.json("stop", "redis")).values()) == {"unchanged"}


def test_containers_outside_the_stack_are_not_touched(droplet: Droplet) -> None:
    droplet.sh("docker run -d --name stranger devtools/gateway-mcp:1 >/dev/null")
    assert droplet.opsctl("startup", "--phase", "1").returncode == 0
    assert droplet.opsctl("stop", "--yes").returncode == 0
    assert droplet.sh("docker ps --format '{{.Names}}'").split() == ["stranger"]


def test_drift_is_told_and_nothing_is_recreated(droplet: Droplet) -> None:
    assert droplet.opsctl("startup", "--only", "redis").returncode == 0
    before = droplet.sh(IDS)
    file = "/opt/Dev-Tools/deploy/docker-compose.yml"
    droplet.sh(f"cp {file} {file}.kept; sed -i 's/--maxmemory 64mb/--maxmemory 65mb/' {file}")
    try:
        again = droplet.opsctl("startup", "--only", "redis")
    finally:
        droplet.sh(f"mv {file}.kept {file}")
    assert again.returncode == 0 and "redis differs from the compose file" in again.stdout
    assert droplet.sh(IDS) == before
