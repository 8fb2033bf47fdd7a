"""What the room costs: nothing before it is used, and no more of paramiko than an SSH connection needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.hosts.support import Sshd


def modules_after(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return set(done.stdout.split())


USE = """
from opsctl.hosts import connect
from opsctl.model.cancel import Cancel
from opsctl.model.ports import Script
from opsctl.model.stack import Droplet
host = connect({droplet}, state_dir="/nowhere")
host.run(Script.of("true"), cancel=Cancel(30), timeout=30)
host.close()
"""


def test_the_import_brings_no_vendor() -> None:
    assert not modules_after("import opsctl.hosts") & {"paramiko", "cryptography", "docker", "asyncio"}


def test_this_machine_needs_no_paramiko() -> None:
    assert "paramiko" not in modules_after(USE.format(droplet="Droplet('box', 'local')"))


def test_ssh_leaves_out_what_it_does_not_need(sshd: Sshd) -> None:
    droplet = sshd.droplet()
    words = f"Droplet('box', {droplet.address!r}, key={droplet.key!r}, known_hosts={droplet.known_hosts!r})"
    found = modules_after(USE.format(droplet=words))
    assert "paramiko" in found and not found & {"invoke", "asyncio", "unittest", "docker"}
