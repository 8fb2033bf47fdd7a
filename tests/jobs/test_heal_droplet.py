"""Heal on a droplet: when it has given up, and what makes it begin anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Droplet
from tests.jobs.deploy_project import COMPOSE, project

from opsctl.jobs.heal_plan import LIMIT

pytestmark = pytest.mark.sandbox

CRASHING = COMPOSE.replace(
    'command: [redis-server, --port, "7001", --save, ""]',
    """command: [sh, -c, "trap 'exit 3' USR1; redis-server --port 7001 & while :; do wait; done"]""",
)
CRASH = "docker kill -s USR1 mini-app-1 >/dev/null; docker wait mini-app-1"


def test_who_was_given_up_and_is_started_again_by_hand_is_tried_anew(session_droplet: Droplet, tmp_path: Path) -> None:
    with project(session_droplet, tmp_path) as made:
        sh = session_droplet.sh
        made.write(CRASHING)
        assert made.deploy()["exit_code"] == 0
        assert sh(CRASH).strip() == "3"
        first = made.opsctl("heal")
        assert first.returncode == 0 and f"try 1 of {LIMIT}" in first.stdout, first.stdout + first.stderr

        kept = json.loads(sh("cat /var/lib/opsctl/heal.json"))
        now = int(sh("date +%s"))
        kept["services"]["app"] = [now - 1, *range(now + 1, now + LIMIT)]
        text = json.dumps(kept)
        sh(f"sleep {LIMIT}; printf %s '{text}' >/var/lib/opsctl/heal.json; {CRASH}")
        given_up = made.opsctl("heal")
        assert given_up.returncode == 7 and "given up" in given_up.stderr, given_up.stdout + given_up.stderr
        assert "opsctl restart app" in given_up.stderr

        sh("sleep 1")
        assert made.opsctl("restart", "app").returncode == 0
        sh(CRASH)
        again = made.opsctl("heal")
        assert again.returncode == 0 and f"try 1 of {LIMIT}" in again.stdout, again.stdout + again.stderr
