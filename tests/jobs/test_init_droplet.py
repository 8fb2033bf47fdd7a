"""`opsctl init` and `opsctl config show` as a user types them, on a real droplet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl.model.stackfile import load_stack
from opsctl.model.stackfile_load import read_stack

pytestmark = pytest.mark.sandbox
CLEAN = "docker ps -aq | xargs -r docker rm -fv >/dev/null; rm -rf /var/lib/opsctl"
COMPOSE = "/opt/Dev-Tools/deploy/docker-compose.yml"


@pytest.fixture(scope="module")
def running(session_droplet: Any) -> Iterator[Any]:
    """The droplet with two services up, started by compose itself, and a container of nobody."""
    session_droplet.sh(CLEAN)
    session_droplet.sh(f"docker compose -f {COMPOSE} up -d --no-build --pull never --wait postgres redis 2>&1")
    session_droplet.sh("docker run -d --name stray --network none $(docker image ls -q | head -1) sleep 600")
    yield session_droplet
    session_droplet.sh(CLEAN)


def test_a_stack_file_from_what_runs(running: Any, tmp_path: Path) -> None:
    output = tmp_path / "opsctl.yaml"
    done = running.opsctl("init", running_name(running), "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stderr
    assert "stray" in done.stderr
    stack = load_stack(output, environ={})
    (droplet,) = stack.droplets.values()
    assert droplet.compose == (COMPOSE,)
    postgres, orchestrator = stack.services["postgres"], stack.services["orchestrator"]
    assert (postgres.phase, orchestrator.phase) == (1, 2)
    assert postgres.memory is not None
    assert 5_000_000 <= postgres.memory <= 200_000_000
    assert orchestrator.memory is None
    shown = running.opsctl("config", "show", "--stack", str(output))
    assert shown.returncode == 0, shown.stderr


def test_an_address_is_taken_as_it_is_whatever_the_old_file_says(running: Any, tmp_path: Path) -> None:
    address = load_stack(running.stack_file, environ={}).droplets[running_name(running)].address
    opsctl = type(running.opsctl)({**running.opsctl.environment, "OPSCTL_STACK": ""}, tmp_path)
    (tmp_path / "opsctl.yaml").write_text("broken: [")
    assert opsctl("init", address).returncode == 2
    refused = opsctl("init", address, "--force")
    assert refused.returncode == 4  # nobody has vouched for this droplet's host key
    assert "host key" in refused.stderr
    assert (tmp_path / "opsctl.yaml").read_text() == "broken: ["


def test_the_same_again_with_force_and_a_look_without_writing(running: Any, tmp_path: Path) -> None:
    output = tmp_path / "opsctl.yaml"
    output.write_text("broken: [")
    looked = running.opsctl("init", running_name(running), "-o", str(output), "--dry-run")
    assert looked.returncode == 0, looked.stderr
    assert read_stack(looked.stdout, output, environ={}).services["postgres"].phase == 1
    assert output.read_text() == "broken: ["
    assert running.opsctl("init", running_name(running), "-o", str(output)).returncode == 2
    assert running.opsctl("init", running_name(running), "-o", str(output), "--force").returncode == 0
    assert load_stack(output, environ={}).services["postgres"].phase == 1


def test_config_show_says_where_each_value_comes_from(running: Any) -> None:
    document = running.opsctl.json("config", "show")
    (entry,) = document["droplets"]
    values = {each["path"]: each for each in entry["result"]["values"]}
    assert entry["result"]["complete"] is True
    assert values["services.postgres.phase"]["value"] == 1
    assert values["services.postgres.phase"]["line"] > 1
    assert values["services.postgres.optional"]["source"] == "default"
    assert values[f"droplets.{entry['name']}.project"]["source"] == "found on the droplet"


def test_x_opsctl_and_derived_phases_are_shown_as_such(running: Any, tmp_path: Path) -> None:
    running.sh(
        "mkdir -p /opt/other && cat >/opt/other/compose.yaml <<'E'\n"
        "services:\n"
        "  db:\n    image: postgres:16-alpine\n    x-opsctl: {memory: 85MB, gate: {tcp: 5432}}\n"
        "  web:\n    image: web\n    depends_on: [db]\n"
        "E"
    )
    known = load_stack(running.stack_file, environ={}).droplets[running_name(running)]
    stack = tmp_path / "opsctl.yaml"
    place = f"address: {known.address}, key: {known.key}, known_hosts: {known.known_hosts}"
    place += ", compose: /opt/other/compose.yaml"
    stack.write_text(f"version: 1\ndroplets:\n  a: {{{place}}}\n")
    try:
        document = running.opsctl.json("config", "show", "--stack", str(stack))
        values = {each["path"]: each for each in document["droplets"][0]["result"]["values"]}
        assert values["services.db.memory"] == {
            "path": "services.db.memory", "value": 85_000_000, "source": "compose.yaml (x-opsctl)", "line": 0,
        }  # fmt: skip
        assert values["services.db.gate.tcp"]["source"] == "compose.yaml (x-opsctl)"
        assert values["services.web.phase"]["value"] == 2
        assert values["services.web.phase"]["source"] == "derived from depends_on"
        stack.write_text(stack.read_text() + "services:\n  wbe: {phase: 1}\n")
        document = running.opsctl.json("config", "show", "--stack", str(stack))
        assert document["exit_code"] == 3
        assert 'did you mean "web"' in document["droplets"][0]["error"]["what"]
    finally:
        running.sh("rm -rf /opt/other")


def test_a_droplet_that_cannot_be_reached_still_shows_what_the_file_says(opsctl: Any, tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text(
        "version: 1\ndroplets: {a: {address: root@127.0.0.1:1}}\nservices: {pg: {phase: 1}}\n"
    )
    document = opsctl.json("config", "show")
    assert document["exit_code"] == 4
    assert document["droplets"][0]["result"]["complete"] is False
    assert any(each["path"] == "services.pg.phase" for each in document["droplets"][0]["result"]["values"])
    assert opsctl.json("config", "show", "--offline")["exit_code"] == 0


def running_name(running: Any) -> str:
    """The droplet's name in its stack file."""
    return next(iter(load_stack(running.stack_file, environ={}).droplets))
