"""Jobs on a droplet without systemd: run now, and noted."""

from __future__ import annotations

import json

import pytest
from tests.conftest import Droplet

pytestmark = pytest.mark.sandbox


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
        listed = opsctl.json("cron", "list")["droplets"][0]["result"]
        jobs = {each["job"]: each for each in listed["jobs"]}
        assert (listed["scheduler"], jobs["memory"]["outcome"], jobs["watch"]["outcome"]) == ("", "done", "")
        nobody = opsctl("cron", "install")
        assert nobody.returncode == 1 and "neither systemd nor cron" in nobody.stderr
        wrong = opsctl("cron", "install", "nonsense")
        assert wrong.returncode == 2
    finally:
        assert opsctl("host", "remove", "--yes").returncode == 0
