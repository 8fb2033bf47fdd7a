"""The main job as a user types it, on a droplet with nothing on it; every JSON document is held to its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.conftest import Droplet

pytestmark = pytest.mark.sandbox
SCHEMAS = Path(__file__).parents[1] / "docs" / "schema"
CORE = {"postgres", "redis", "gateway-mcp", "orchestrator"}


def valid(command: str, document: dict[str, Any]) -> Any:
    """The first droplet's result of a document that is as its schema says."""
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert document["schema"] == f"opsctl.{command}/1"
    return document["droplets"][0]["result"]


def test_from_nothing_to_phase_2_and_back(droplet: Droplet) -> None:
    opsctl = droplet.opsctl
    planned = valid("startup", opsctl.json("startup", "--phase", "2", "--dry-run"))
    assert planned["dry_run"]
    assert not droplet.sh("docker ps -aq").split(), "a dry run creates nothing"

    first = opsctl.json("startup", "--phase", "2")
    started = valid("startup", first)
    assert first["ok"], first
    assert {each["service"] for each in started["services"]} == CORE == droplet.running()
    assert {each["outcome"] for each in started["services"]} == {"changed"}
    assert started["plan"]["id"] == planned["plan"]["id"], "the plan that was shown is the plan that ran"
    tables = droplet.sh("docker exec deploy-postgres-1 psql -U devtools -d devtools -tAc '\\dt checkpoints.*'")
    assert "checkpoint_writes" in tables

    before = droplet.sh("docker ps -aq --no-trunc; cat /var/lib/opsctl/audit.jsonl")
    second = valid("startup", opsctl.json("startup", "--phase", "2"))
    assert {each["outcome"] for each in second["services"]} == {"unchanged"}
    assert droplet.sh("docker ps -aq --no-trunc; cat /var/lib/opsctl/audit.jsonl") == before, "nothing was written"

    seen = valid("status", opsctl.json("status"))
    running = {each["name"] for each in seen["services"] if each["level"] == "ok"}
    assert running == CORE, seen["services"]

    report = valid("memory.report", opsctl.json("memory", "report"))
    by_name = {each["service"]: each for each in report["containers"]}
    assert set(by_name) == CORE
    assert by_name["orchestrator"]["used"] > 150_000_000
    assert report["ledger"]["total"] == 2 * 1024**3

    examined = opsctl.json("doctor")
    assert not [each for each in valid("doctor", examined)["checks"] if each["verdict"] == "failed"], examined

    again = valid("restart", opsctl.json("restart", "redis"))
    assert [each["outcome"] for each in again["services"] if each["service"] == "redis"] == ["changed"]

    stopped = opsctl.json("stop", "--yes")
    assert stopped["ok"]
    valid("stop", stopped)
    assert droplet.running() == set()
    valid("config.show", opsctl.json("config", "show"))
    valid("sandbox.status", opsctl.json("sandbox", "status", "--name", droplet.name))


def test_startup_leaves_what_compose_made_and_compose_what_startup_made(droplet: Droplet) -> None:
    compose = "cd /opt/Dev-Tools/deploy && docker compose"
    droplet.sh(f"{compose} up -d --no-deps postgres redis gateway-mcp >/dev/null 2>&1")
    made = set(droplet.sh("docker ps -aq --no-trunc").split())
    assert droplet.opsctl("startup", "--phase", "2").returncode == 0
    after = set(droplet.sh("docker ps -aq --no-trunc").split())
    assert made < after
    droplet.sh(f"{compose} up -d --no-deps postgres redis gateway-mcp orchestrator >/dev/null 2>&1")
    assert set(droplet.sh("docker ps -aq --no-trunc").split()) == after, "compose found its own containers"


def test_a_service_that_does_not_fit_is_named_with_the_arithmetic(droplet: Droplet) -> None:
    assert droplet.opsctl("startup", "--phase", "1").returncode == 0
    tight = droplet.stack_file.read_text().replace("reserve: 200MB", "reserve: 1800MB")
    file = droplet.stack_file.with_name("tight.yaml")
    file.write_text(tight)
    refused = droplet.opsctl("startup", "--phase", "2", "--stack", str(file))
    assert refused.returncode == 7
    assert "orchestrator" in refused.stderr
    assert "1800 MB" in refused.stderr
    assert droplet.running() == CORE - {"orchestrator"}
    told = droplet.opsctl("startup", "--phase", "2", "--stack", str(file), "--ignore-memory")
    assert told.returncode == 0, told.stderr
