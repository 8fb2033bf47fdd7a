"""Jobs on a droplet without systemd: run now, and noted."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.conftest import Droplet

from opsctl.spine import hold

pytestmark = pytest.mark.sandbox


@contextmanager
def provider_reached(droplet: Droplet) -> Iterator[None]:
    """The stand-in listens on this machine's loopback: lead the droplet's own to it."""
    port = re.search(r"api: \"http://127.0.0.1:(\d+)", droplet.stack_file.read_text())
    assert port is not None
    way = f"{port[1]}:127.0.0.1:{port[1]}"
    options = ("-N", "-R", way, "-o", "ExitOnForwardFailure=yes")
    with subprocess.Popen([*droplet.ssh[:-1], *options, droplet.ssh[-1]]) as tunnel:
        try:
            asked = f"(: </dev/tcp/127.0.0.1/{port[1]}) 2>/dev/null && exit"
            droplet.sh(f"for i in $(seq 100); do {asked}; sleep 0.1; done; exit 1")
            yield
        finally:
            tunnel.terminate()


def test_a_job_runs_now_and_its_end_is_noted(droplet: Droplet) -> None:
    opsctl = droplet.opsctl
    early = opsctl("cron", "run", "memory")
    assert early.returncode == 1 and "opsctl host install" in early.stderr
    assert opsctl("host", "install").returncode == 0
    try:
        ran = opsctl("cron", "run", "memory")
        assert ran.returncode == 0, ran.stderr
        again = opsctl.json("cron", "run", "memory")["droplets"][0]["result"]
        assert again["outcome"] == "done"
        lines = droplet.sh("cat /var/lib/opsctl/history/memory.jsonl").splitlines()
        seen = [json.loads(line) for line in lines]
        assert len(seen) == 2 and seen[0]["available"] <= seen[0]["total"]

        healed = opsctl("cron", "run", "heal")
        assert (healed.returncode, "nothing is sick" in healed.stdout) == (0, True)
        held = hold.place("/var/lib/opsctl", "r1", "recover is at work", 60)
        droplet.sh(f"set -- {shlex.join(held.args)}\n{held.text}")
        assert "stands aside: recover is at work" in opsctl("cron", "run", "heal").stdout

        token = (droplet.stack_file.parent / "cloud-token").read_text()
        droplet.sh(f"umask 077; echo {token.strip()} > /etc/opsctl/cloud-token")
        with provider_reached(droplet):
            copied = opsctl("cron", "run", "snapshot")
        assert copied.returncode == 0, copied.stderr
        assert token.strip() not in copied.stdout + droplet.sh("cat /var/lib/opsctl/cron/*")
        assert f"opsctl-{droplet.name}-" in opsctl("droplet", "show").stdout

        listed = opsctl.json("cron", "list")["droplets"][0]["result"]
        jobs = {each["job"]: each for each in listed["jobs"]}
        assert (listed["scheduler"], jobs["memory"]["outcome"], jobs["watch"]["outcome"]) == ("", "done", "")
        nobody = opsctl("cron", "install")
        assert nobody.returncode == 1 and "neither systemd nor cron" in nobody.stderr
        wrong = opsctl("cron", "install", "nonsense")
        assert wrong.returncode == 2
    finally:
        assert opsctl("host", "remove", "--yes").returncode == 0
