"""A service on a real droplet is sent from the Qdrant beside it to another one, and back; and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models
from tests.conftest import Droplet, Opsctl
from tests.jobs.deploy_project import Project, project
from tests.stores.qdrant_server import Standin

pytestmark = [pytest.mark.sandbox, pytest.mark.filterwarnings("ignore:Api key is used")]
KEY = "cloud-key-of-the-tests"
OLD, NEW, INSIDE = 7335, 7334, 7333  # on the droplet's loopback: old Qdrant's container, new one, what the old one is
COMPOSE = """\
name: mini
services:
  qdrant:
    image: devtools/rag-context:1
    network_mode: host
    stop_grace_period: 1s
    command: [python3, -u, /conf/qdrant.py]
    volumes: ["./conf:/conf:ro"]
  rag:
    image: devtools/rag-context:1
    network_mode: host
    stop_grace_period: 1s
    env_file: rag.env
    command: [python3, -u, /conf/rag.py]
    volumes: ["./conf:/conf:ro"]
  other:
    image: devtools/rag-context:1
    stop_grace_period: 1s
    command: [sleep, "1000"]
"""
# The old Qdrant's container: carries bytes to where the test's server is.
QDRANT = f"""\
import socket, threading
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    finally:
        for each in (a, b):
            try: each.shutdown(socket.SHUT_RDWR)
            except OSError: pass
server = socket.create_server(("127.0.0.1", {OLD}))
while True:
    a = server.accept()[0]
    try: b = socket.create_connection(("127.0.0.1", {INSIDE}), 5)
    except OSError: a.close(); continue
    for pair in ((a, b), (b, a)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""
RAG = """\
import os, time, urllib.request
url, key = os.environ["QDRANT_URL"], os.environ.get("QDRANT_API_KEY", "")
asked = urllib.request.Request(f"{url}/collections/{os.environ['QDRANT_COLLECTION']}", headers={"api-key": key})
while True:
    try: urllib.request.urlopen(asked, timeout=3); break
    except OSError as error: print("no Qdrant yet", error); time.sleep(0.3)
print("Qdrant Cloud client initialized" if key else "Qdrant client initialized")
while True: time.sleep(60)
"""
KNOCK = f"import socket; socket.create_connection(('127.0.0.1', {OLD}), 2)"
STACK = f"""
services:
  qdrant: {{phase: 1, memory: 10MB, gate: {{command: [python3, -c, "{KNOCK}"], within: 20s}}}}
  rag: {{phase: 2, memory: 10MB, gate: {{within: 6s}}}}
  other: {{phase: 1, memory: 5MB}}
stores:
  local: {{qdrant: "http://127.0.0.1:{OLD}", via: NAME}}
  cloud: {{qdrant: "CLOUD", api_key: {KEY}}}
"""


class Stage:
    """The project with its two servers, as one test sees it."""

    def __init__(self, project: Project, old: Standin, new: Standin) -> None:
        self.project, self.old, self.new = project, old, new
        self.opsctl = project.opsctl

    def migrate(self, *words: str) -> dict[str, Any]:
        ends = ("--from", "local", "--to", "cloud", "--collection", "the-shop")
        return self.opsctl.json("migrate", "qdrant-to-cloud", *ends, *words)

    def switch(self, *words: str) -> dict[str, Any]:
        return self.migrate("--switch", "rag", "--service-url", f"http://127.0.0.1:{NEW}", *words)

    def env(self) -> str:
        return self.project.droplet.sh("cat /opt/mini/rag.env")

    def log(self) -> str:
        return self.project.droplet.sh(
            "docker logs $(docker ps -aq --filter label=com.docker.compose.service=rag) 2>&1"
        )


@pytest.fixture(scope="module")
def stage(session_droplet: Droplet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    old, new = Standin(), Standin(api_key=KEY)
    ways = [
        word for port, to in ((INSIDE, old), (NEW, new)) for word in ("-R", f"127.0.0.1:{port}:127.0.0.1:{to.port}")
    ]
    ssh = subprocess.Popen([*session_droplet.ssh[:1], "-N", *ways, *session_droplet.ssh[1:]])
    folder = tmp_path_factory.mktemp("switch")
    try:
        with project(session_droplet, folder) as made:
            head = made.stack.read_text().split("\nservices:")[0]
            more = STACK.replace("NAME", session_droplet.name).replace("CLOUD", new.url)
            made.stack.write_text(head + more)
            (made.here / "conf").mkdir(exist_ok=True)
            for name, text in (("conf/qdrant.py", QDRANT), ("conf/rag.py", RAG)):
                (made.here / name).write_text(text)
            (made.here / "rag.env").write_text(f"QDRANT_URL=http://127.0.0.1:{OLD}\nQDRANT_COLLECTION=docs\nA='b c'\n")
            state = {**made.opsctl.environment, "XDG_STATE_HOME": str(folder / "state")}
            own = replace(made, opsctl=replace(made.opsctl, environment=state))
            yield Stage(own, old, new)
    finally:
        ssh.kill()
        ssh.wait()
        old.kill()
        new.kill()


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """Both collections anew, everything up and as the files say."""
    stage.project.write(COMPOSE)
    stage.project.droplet.sh("rm -f /opt/mini/rag.env")
    for server in (stage.old, stage.new):
        for each in server.client().get_collections().collections:
            server.client().delete_collection(each.name)
    client = stage.old.client()
    for name in ("the-shop", "docs"):
        client.create_collection(name, models.VectorParams(size=4, distance=models.Distance.COSINE))
    points = [models.PointStruct(id=n, vector=[1.0, n, 2.0, 3.0], payload={"n": n}) for n in range(200)]
    client.upsert("the-shop", points)
    deployed = stage.project.deploy("--remove-keys", "--phase", "2")
    assert deployed["exit_code"] == 0, deployed["error"]
    assert stage.project.droplet.running() == {"qdrant", "rag", "other"}
    return stage


def test_forth_with_the_last_points_and_back(ready: Stage) -> None:
    first = ready.migrate()
    assert first["exit_code"] == 0, first
    ready.old.client().upsert(
        "the-shop", [models.PointStruct(id=500, vector=[1.0, 0.0, 0.0, 0.0], payload={"late": 1})]
    )
    before = ready.project.ids()
    assert ready.switch("--dry-run")["exit_code"] == 0
    assert (ready.project.ids(), ready.project.droplet.running()) == (before, {"qdrant", "rag", "other"})
    done = ready.switch()
    assert done["exit_code"] == 0, done["error"]
    assert done["droplets"][0]["result"]["receipt"]["counts"]["verified"] == 1
    assert ready.project.droplet.running() == {"rag", "other"}
    assert ready.project.ids()["other"] == before["other"]
    assert ready.new.client().count("the-shop").count == 201
    assert f"QDRANT_URL=http://127.0.0.1:{NEW}" in ready.env()
    assert "QDRANT_COLLECTION=the-shop" in ready.env() and "A='b c'" in ready.env()
    assert "Qdrant Cloud client initialized" in ready.log()
    assert KEY not in json.dumps(done)
    back = ready.opsctl.json("migrate", "rollback", done["run_id"], "--yes")
    assert back["exit_code"] == 0, back["error"]
    assert ready.project.droplet.running() == {"qdrant", "rag", "other"}
    assert sorted(ready.env().split("\n")) == sorted(
        [f"QDRANT_URL=http://127.0.0.1:{OLD}", "QDRANT_COLLECTION=docs", "A='b c'", ""]
    )
    assert ready.project.ids()["other"] == before["other"]
    assert ready.new.client().count("the-shop").count == 200


def test_a_service_that_does_not_prove_itself_is_sent_back(ready: Stage) -> None:
    done = ready.switch("--proof", "this is never said")
    assert done["exit_code"] == 7, done["error"]
    assert "back where they were" in done["error"]["why"]
    assert ready.project.droplet.running() == {"qdrant", "rag", "other"}
    assert f"QDRANT_URL=http://127.0.0.1:{OLD}" in ready.env()
    assert "QDRANT_API_KEY" not in ready.env()


def test_a_copy_that_is_not_complete_switches_nothing(ready: Stage) -> None:
    ready.new.faults(refuse=0.05)
    done = ready.switch()
    ready.new.faults()
    assert done["exit_code"] == 5, done["error"]
    assert "nothing was switched" in json.dumps(done)
    assert ready.project.droplet.running() == {"qdrant", "rag", "other"}
    assert f"QDRANT_URL=http://127.0.0.1:{OLD}" in ready.env()


def test_what_the_compose_file_gives_itself_is_refused_before_anything_stops(ready: Stage) -> None:
    fixed = COMPOSE.replace(
        "    env_file: rag.env\n", f"    env_file: rag.env\n    environment: {{QDRANT_URL: 'http://127.0.0.1:{OLD}'}}\n"
    )
    ready.project.write(fixed)
    assert ready.project.deploy()["exit_code"] == 0
    before = ready.project.ids()
    done = ready.switch()
    assert done["exit_code"] == 3, done["error"]
    assert "wins over an env file" in done["error"]["why"]
    unknown = ready.migrate("--switch", "nobody", "--service-url", "http://127.0.0.1:1")
    assert unknown["exit_code"] == 2, unknown
    assert ready.project.ids() == before


def test_a_kill_in_the_middle_leaves_a_way_back(ready: Stage) -> None:
    words = ("--from", "local", "--to", "cloud", "--collection", "the-shop", "--switch", "rag")
    running = ready.opsctl.start("migrate", "qdrant-to-cloud", *words, "--service-url", f"http://127.0.0.1:{NEW}")
    runs = Path(ready.opsctl.environment["XDG_STATE_HOME"]) / "opsctl/migrations"
    for _ in range(600):
        if "QDRANT_API_KEY" in ready.env() or running.poll() is not None:
            break
        time.sleep(0.1)
    running.kill()
    running.communicate()
    run = max(path.parent.name for path in runs.glob("*/switch.json"))
    back = ready.opsctl.json("migrate", "rollback", run, "--yes")
    assert back["exit_code"] == 0, back["error"]
    assert ready.project.droplet.running() == {"qdrant", "rag", "other"}
    assert f"QDRANT_URL=http://127.0.0.1:{OLD}" in ready.env()


def test_the_sandboxes_own_stack_takes_the_address_from_its_env_file(ready: Stage, tmp_path: Path) -> None:
    droplet = ready.project.droplet
    stack = tmp_path / "opsctl.yaml"
    local, cloud = f"http://127.0.0.1:{INSIDE}", ready.new.url
    stores = {"local": {"qdrant": local, "via": droplet.name}, "cloud": {"qdrant": cloud, "api_key": KEY}}
    stack.write_text(f"{droplet.stack_file.read_text()}stores: {json.dumps(stores)}\n")
    opsctl = Opsctl({**ready.opsctl.environment, "OPSCTL_STACK": str(stack)}, tmp_path)
    droplet.sh("cd /opt/Dev-Tools/deploy && cp -L .env /tmp/env.before")
    try:
        started = opsctl("startup", "--only", "gateway-mcp", "--only", "rag-context")
        assert started.returncode == 0, started.stderr
        ends = ("--from", "local", "--to", "cloud", "--collection", "the-shop", "--switch", "rag-context")
        dry = opsctl("migrate", "qdrant-to-cloud", *ends, "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert "set QDRANT_URL, QDRANT_API_KEY" in dry.stderr + dry.stdout
        droplet.sh("printf 'QDRANT_URL=http://other:6333\\nQDRANT_API_KEY=k\\n' >>/opt/Dev-Tools/deploy/.env")
        plan = opsctl.json("deploy", "--dry-run")["droplets"][0]["result"]
        assert [each["service"] for each in plan["services"] if each["action"] == "recreate"] == ["rag-context"], plan[
            "services"
        ]
    finally:
        droplet.sh("cd /opt/Dev-Tools/deploy && cat /tmp/env.before >.env && docker compose rm -fs")
