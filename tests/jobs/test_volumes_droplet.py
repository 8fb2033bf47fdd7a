"""A volume moves to a folder of the droplet and back with the data of a real Redis in it, killed in the middle, too."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import Droplet
from tests.jobs.deploy_project import COMPOSE, WHERE, Project, project, result

pytestmark = pytest.mark.sandbox

FOLDER = "/opt/mini-data/store"
KEEPS = COMPOSE.replace('"7000", --save, ""', '"7000", --appendonly, "yes"').replace("64M", "256M")
MOVE = ("migrate", "volumes-to-host", "data", "--to", FOLDER)
BACK = ("migrate", "volumes-to-host", "data", "--back")
CLI = "docker exec -i mini-store-1 redis-cli -p 7000"


@pytest.fixture(scope="module")
def store(session_droplet: Droplet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project with two thousand keys in its volume."""
    session_droplet.sh("rm -rf /opt/mini-data")
    with project(session_droplet, tmp_path_factory.mktemp("volumes")) as made:
        made.write(KEEPS)
        assert made.deploy()["exit_code"] == 0
        made.droplet.sh(f"for i in $(seq 2000); do echo SET key:$i value-$i; done | {CLI} >/dev/null")
        yield made
    session_droplet.sh("rm -rf /opt/mini-data")


def content(store: Project) -> str:
    """Every key with its value, as a checksum."""
    keys = f"{CLI} --scan | sort | sed 's/^/GET /' >/tmp/keys"
    return store.droplet.sh(f"{keys}; {CLI} </tmp/keys | cat /tmp/keys - | md5sum")


def mounted(store: Project) -> str:
    return store.droplet.sh(
        "docker inspect -f '{{range .Mounts}}{{if eq .Destination \"/data\"}}{{.Source}}{{end}}{{end}}' mini-store-1"
    ).strip()


def moved(store: Project, *words: str) -> dict[str, Any]:
    document = store.opsctl.json(*words)
    assert document["exit_code"] == 0, json.dumps(document["droplets"])
    return result(document)


def test_forwards_and_back_with_what_was_written_since(store: Project) -> None:
    before, ids, volume = content(store), store.ids(), mounted(store)
    dry = store.opsctl.json(*MOVE, "--switch", "--dry-run")
    assert result(dry)["state"] == "would be moved" and f'+    volumes: ["{FOLDER}:/data"' in "\n".join(
        result(dry)["change"]
    )
    copied = moved(store, *MOVE)
    assert copied["state"] == "copied" and copied["downtime"] is None and store.ids() == ids, "nothing was stopped"
    there = moved(store, *MOVE, "--switch")
    assert there["state"] == "moved" and there["downtime"] > 0 and mounted(store) == FOLDER
    one, other = there["sides"]
    assert one["checksum"] == other["checksum"] and one["files"] == other["files"] > 1
    assert content(store) == before and store.ids()["app"] == ids["app"], "only the one service is recreated"
    owners = store.droplet.sh(f"cd {volume} && find . -printf '%p %U %G %m\\n' | sort")
    assert store.droplet.sh(f"cd {FOLDER} && find . -printf '%p %U %G %m\\n' | sort") == owners
    store.stable()
    assert moved(store, *MOVE, "--switch")["state"] == "unchanged"
    refused = store.opsctl("rollback")
    assert refused.returncode == 1 and "data" in refused.stderr, "the old file alone would bring an old database"
    store.droplet.sh(f"echo SET key:new value | {CLI}")
    since = content(store)
    assert since != before
    back = moved(store, *BACK, "--switch")
    assert back["state"] == "moved" and mounted(store) == volume and content(store) == since
    assert store.droplet.sh(f"cat {WHERE}/docker-compose.yml") == KEEPS
    store.stable()


def test_a_folder_with_somebody_elses_data_is_refused_and_so_is_a_side_that_was_touched(store: Project) -> None:
    store.droplet.sh("mkdir -p /opt/mini-data/full && echo mine >/opt/mini-data/full/file")
    refused = store.opsctl("migrate", "volumes-to-host", "data", "--to", "/opt/mini-data/full", "--switch")
    assert refused.returncode == 1 and "is not empty" in refused.stderr
    assert store.droplet.sh("ls /opt/mini-data/full") == "file\n"
    store.droplet.sh(f"echo strange >{FOLDER}/strange")
    touched = store.opsctl(*MOVE, "--switch")
    assert touched.returncode == 1 and "not as it was left" in touched.stderr and "store" in store.droplet.running()
    store.droplet.sh(f"rm {FOLDER}/strange")


@pytest.mark.parametrize(("number", "line"), [(signal.SIGINT, "compose.yml written"), (signal.SIGKILL, "stopped")])
def test_cut_short_anywhere_and_called_again(store: Project, number: int, line: str) -> None:
    before, words = content(store), MOVE if "docker" in mounted(store) else BACK
    place = mounted(store)
    process = store.opsctl.start(*words, "--switch")
    assert process.stderr is not None
    for each in process.stderr:
        if line in each:
            process.send_signal(number)
            break
    process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -9)
    if number == signal.SIGINT:
        assert "store" in store.droplet.running(), "what was stopped is started again"
        assert mounted(store) == place and content(store) == before
    moved(store, *words, "--switch")
    assert mounted(store) != place and content(store) == before
    store.stable()


def test_the_volume_goes_only_by_its_name(store: Project) -> None:
    if "docker" in mounted(store):
        moved(store, *MOVE, "--switch")
    finish = ("migrate", "volumes-to-host", "data", "--finish")
    assert store.opsctl(*finish).returncode == 2 and store.opsctl(*finish, "--confirm", "data").returncode == 2
    assert "mini_data" in store.droplet.sh("docker volume ls -q")
    before = content(store)
    assert moved(store, *finish, "--confirm", "mini_data")["state"] == "removed"
    assert "mini_data" not in store.droplet.sh("docker volume ls -q").split()
    assert content(store) == before
    assert store.opsctl(*BACK, "--switch").returncode == 2
    store.stable()
