"""A small compose project of its own on the session's droplet, and the folder here that is pushed to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.conftest import BASE_ENVIRONMENT, Droplet, Opsctl

WHERE = "/opt/mini"
IMAGE = "devtools/redis:8"
COMPOSE = f"""\
name: mini
services:
  store:
    image: {IMAGE}
    env_file: app.env
    command: [redis-server, --port, "7000", --save, ""]
    volumes: ["data:/data", "./conf/app.conf:/conf/app.conf:ro"]
    deploy: {{resources: {{limits: {{memory: 64M}}}}}}
  app:
    image: tiny/app:1
    command: [redis-server, --port, "7001", --save, ""]
    depends_on: [store]
volumes: {{data: {{}}}}
"""
SERVICES = """\
  store: {phase: 1, memory: 10MB, gate: {command: [redis-cli, -p, "7000", ping], within: 10s}}
  app: {phase: 2, memory: 10MB, gate: {command: [redis-cli, -p, "7001", ping], within: 5s}}
"""


@dataclass(frozen=True)
class Project:
    """The project: `here` is the folder that is pushed."""

    droplet: Droplet
    opsctl: Opsctl
    here: Path
    stack: Path

    def write(self, compose: str = COMPOSE, *, env: str = "", conf: str = "") -> None:
        """Write the local files; env file and configuration stay as they were where nothing is given."""
        (self.here / "conf").mkdir(exist_ok=True)
        (self.here / "docker-compose.yml").write_text(compose, newline="")
        if env:
            (self.here / "app.env").write_text(env, newline="")
        if conf:
            (self.here / "conf/app.conf").write_text(conf)

    def deploy(self, *words: str) -> dict[str, Any]:
        """Push and return the document."""
        return self.opsctl.json("deploy", "--push", str(self.here), *words)

    def with_value(self, value: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command with something on its stdin."""
        environment = {**BASE_ENVIRONMENT, "COLUMNS": "100", **self.opsctl.environment}
        argv = [sys.executable, "-m", "opsctl", *words]
        return subprocess.run(argv, input=value, capture_output=True, text=True, env=environment, check=False)

    def ids(self) -> dict[str, str]:
        """Service → container id and start."""
        form = '{{index .Config.Labels "com.docker.compose.service"}} {{.Id}} {{.State.StartedAt}}'
        text = self.droplet.sh(
            f"docker ps -aq --filter label=com.docker.compose.project=mini | xargs -r docker inspect -f '{form}'"
        )
        return {line.split()[0]: line.split(" ", 1)[1] for line in text.splitlines()}

    def stable(self) -> None:
        """Neither a plain `up` nor a startup changes anything now."""
        before = self.ids()
        self.droplet.sh(f"cd {WHERE} && docker compose up -d --no-build --pull never >/dev/null 2>&1")
        again = self.opsctl.json("startup")
        assert again["exit_code"] == 0, again
        assert "differs" not in json.dumps(again["droplets"][0]["result"]["notes"])
        assert self.ids() == before, "something was recreated or started again"


@contextmanager
def project(droplet: Droplet, folder: Path) -> Iterator[Project]:
    """The project with nothing of it on the droplet; taken away afterwards."""
    clean(droplet)
    head = droplet.stack_file.read_text().split("\nservices:")[0]
    head = "\n".join(line for line in head.splitlines() if "compose:" not in line)
    head = head.replace("    reserve: 200MB", f"    compose: {WHERE}/docker-compose.yml\n    reserve: 100MB")
    stack = folder / "opsctl.yaml"
    stack.write_text(f"{head}\nservices:\n{SERVICES}")
    here = folder / "push"
    here.mkdir(exist_ok=True)
    environment = {**droplet.opsctl.environment, "OPSCTL_STACK": str(stack)}
    made = Project(droplet, replace(droplet.opsctl, environment=environment), here, stack)
    made.write(env="KEY=one\nSECRET_KEY=hush-hush-hush\n", conf="a\n")
    try:
        yield made
    finally:
        clean(droplet)


def clean(droplet: Droplet) -> None:
    """Nothing of the project is left, and no release."""
    droplet.sh(
        "docker ps -aq | xargs -r docker rm -fv >/dev/null 2>&1; docker volume rm mini_data >/dev/null 2>&1;"
        "docker network rm mini_default >/dev/null 2>&1;"
        "docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -E '^(opsctl-release/|tiny/)' | xargs -r docker rmi"
        f" >/dev/null 2>&1; rm -rf /var/lib/opsctl {WHERE}; mkdir {WHERE}; docker tag {IMAGE} tiny/app:1"
    )


def result(document: dict[str, Any]) -> dict[str, Any]:
    """What one droplet answered."""
    (each,) = document["droplets"]
    assert each["result"] is not None, each["error"]
    found: dict[str, Any] = each["result"]
    return found


def actions(document: dict[str, Any]) -> dict[str, str]:
    """Service → what becomes of its container."""
    return {each["service"]: each["action"] for each in result(document)["services"]}
