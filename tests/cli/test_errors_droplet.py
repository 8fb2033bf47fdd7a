"""Errors that need a droplet: each ends with what, why, the next command to type, and leaves nothing half-done."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import Droplet, Opsctl

pytestmark = pytest.mark.sandbox
COMPOSE_PLUGIN = "/usr/libexec/docker/cli-plugins/docker-compose"


def as_user(droplet: Droplet, user: str) -> Opsctl:
    """opsctl on the same droplet, logged in as somebody else."""
    text = droplet.stack_file.read_text().replace("root@127", f"{user}@127")
    file = droplet.stack_file.with_name(f"{user}.yaml")
    file.write_text(text)
    return Opsctl({**droplet.opsctl.environment, "OPSCTL_STACK": str(file)}, droplet.opsctl.folder)


@contextmanager
def on_droplet(droplet: Droplet, do: str, undo: str) -> Iterator[Opsctl]:
    """The droplet with something broken, mended at the end."""
    droplet.sh(do)
    try:
        yield droplet.opsctl
    finally:
        droplet.sh(undo)


def no_docker(droplet: Droplet) -> Iterator[Opsctl]:
    with on_droplet(
        droplet,
        "mv /usr/bin/docker /root/docker.off; droplet-service stop dockerd",
        "mv /root/docker.off /usr/bin/docker; droplet-service start dockerd;"
        " for i in $(seq 100); do docker info >/dev/null 2>&1 && exit 0; sleep 0.2; done; exit 1",
    ) as opsctl:
        yield opsctl


def compose_v1(droplet: Droplet) -> Iterator[Opsctl]:
    # The old program's own words; nothing but its version is ever asked of it.
    one = "printf '#!/bin/sh\\necho docker-compose version 1.29.2, build unknown\\n'"
    with on_droplet(
        droplet,
        f"mv {COMPOSE_PLUGIN} /root/compose.off; {one} >/usr/local/bin/docker-compose;"
        " chmod +x /usr/local/bin/docker-compose",
        f"mv /root/compose.off {COMPOSE_PLUGIN}; rm -f /usr/local/bin/docker-compose",
    ) as opsctl:
        yield opsctl


def no_permission(droplet: Droplet) -> Iterator[Opsctl]:
    # The sandbox's sshd knows one key for every user.
    droplet.sh("id guest >/dev/null 2>&1 || useradd -m -s /bin/bash guest")
    yield as_user(droplet, "guest")


def no_state_folder(droplet: Droplet) -> Iterator[Opsctl]:
    """In the group docker, without sudo: may use the engine, may not make /var/lib/opsctl."""
    yield as_user(droplet, "deploy")


def disk_full(droplet: Droplet) -> Iterator[Opsctl]:
    with on_droplet(
        droplet,
        "mkdir -p /var/lib/opsctl; mount -t tmpfs -o size=16k opsctl-full /var/lib/opsctl;"
        " mkdir -p /var/lib/opsctl/lease /var/lib/opsctl/runs;"
        " cat /dev/zero >/var/lib/opsctl/full 2>/dev/null; true",
        "umount /var/lib/opsctl",
    ) as opsctl:
        yield opsctl


def image_missing(droplet: Droplet) -> Iterator[Opsctl]:
    with on_droplet(
        droplet,
        "docker tag devtools/redis:8 keep/redis:8 && docker rmi devtools/redis:8 >/dev/null",
        "docker tag keep/redis:8 devtools/redis:8 && docker rmi keep/redis:8 >/dev/null",
    ) as opsctl:
        yield opsctl


def wrong_key(droplet: Droplet) -> Iterator[Opsctl]:
    other = droplet.stack_file.with_name("other-key")
    if not other.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    yield changed_stack(droplet, "wrong-key.yaml", "id_ed25519", "other-key")


def unknown_host_key(droplet: Droplet) -> Iterator[Opsctl]:
    droplet.stack_file.with_name("known-nobody").write_text("")
    yield changed_stack(droplet, "unknown.yaml", "/known_hosts", "/known-nobody")


def changed_host_key(droplet: Droplet) -> Iterator[Opsctl]:
    folder = droplet.stack_file.parent
    wrong_key_of_somebody = folder / "somebody"
    if not wrong_key_of_somebody.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong_key_of_somebody)], check=True)
    kind, key, *_ = Path(f"{wrong_key_of_somebody}.pub").read_text().split()
    known = (folder / "known_hosts").read_text().split()[0]
    (folder / "known-wrong").write_text(f"{known} {kind} {key}\n")
    yield changed_stack(droplet, "changed.yaml", "/known_hosts", "/known-wrong")


def changed_stack(droplet: Droplet, name: str, old: str, new: str) -> Opsctl:
    """opsctl with a copy of the stack file in which one thing differs."""
    file = droplet.stack_file.with_name(name)
    file.write_text(droplet.stack_file.read_text().replace(old, new))
    return Opsctl({**droplet.opsctl.environment, "OPSCTL_STACK": str(file)}, droplet.opsctl.folder)


@dataclass(frozen=True)
class Case:
    """`breaks` gives opsctl on a droplet with one thing wrong; `says` must all stand in the message."""

    breaks: Callable[[Droplet], Iterator[Opsctl]]
    exit_code: int
    says: tuple[str, ...]


CASES = (
    Case(no_docker, 4, ("Docker",)),
    Case(compose_v1, 4, ("compose",)),
    Case(no_permission, 4, ("guest",)),
    Case(no_state_folder, 1, ("/var/lib/opsctl", "docker")),
    Case(disk_full, 1, ("/var/lib/opsctl", "no space is left", "df -h /var/lib/opsctl")),
    Case(image_missing, 1, ("redis", "image")),
    Case(wrong_key, 4, ("other-key",)),
    Case(unknown_host_key, 4, ("SHA256:",)),
    Case(changed_host_key, 4, ("ssh-keygen", "-R", "SHA256:")),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.breaks.__name__)
def test_error(case: Case, droplet: Droplet) -> None:
    broken = contextmanager(case.breaks)
    with broken(droplet) as opsctl:
        shown = opsctl("startup", "--phase", "1")
        document = opsctl.json("startup", "--phase", "1")
    assert shown.returncode == case.exit_code, shown.stderr
    assert document["exit_code"] == case.exit_code
    error = document["error"] or document["droplets"][0]["error"]
    assert error["what"]
    assert error["why"]
    assert error["next"]
    told = json.dumps(error, ensure_ascii=False)
    for word in case.says:
        assert word in told
        assert word in shown.stderr
    assert "Traceback" not in shown.stderr
    assert droplet.running() <= {"postgres", "gateway-mcp"}, "what could not work was not begun"
    after = droplet.opsctl("startup", "--phase", "1")
    assert after.returncode == 0, after.stderr


def test_a_user_who_needs_sudo_can_do_everything(droplet: Droplet) -> None:
    alex = as_user(droplet, "alex")
    started = alex("startup", "--phase", "1")
    assert started.returncode == 0, started.stderr
    assert alex("memory", "report").returncode == 0
    assert alex.json("status")["ok"]
    assert alex("stop", "--yes").returncode == 0
    assert droplet.running() == set()
