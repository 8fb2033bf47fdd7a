"""The playbook "Qdrant to the cloud" on a real droplet, forwards and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.jobs.test_qdrant_switch_droplet import KEY, NEW, OLD, Stage, ready, stage

__all__ = ["ready", "stage"]  # fixtures
pytestmark = [pytest.mark.sandbox, pytest.mark.filterwarnings("ignore:Api key is used")]
RUN = ("playbook", "run", "qdrant-to-cloud", "--var", "from=local", "--var", "to=cloud", "--var", "services=rag")
VALUES = ("--var", "local=qdrant", "--var", "within=20s", "--var", f"url=http://127.0.0.1:{NEW}")


def statuses(document: dict[str, Any]) -> dict[str, str]:
    (each,) = document["droplets"]
    return {step["id"]: step["status"] for step in each["result"]["steps"]}


def test_to_the_cloud_with_a_question_and_back_again(ready: Stage) -> None:
    before, env = ready.project.ids(), ready.env()
    dry = ready.opsctl.json(*RUN, *VALUES, "--dry-run")
    assert dry["exit_code"] == 0 and statuses(dry)["copy"] == "would change", json.dumps(dry)
    assert (ready.project.ids(), ready.env()) == (before, env)
    asks = ready.opsctl.json(*RUN, *VALUES)
    assert asks["exit_code"] == 5 and statuses(asks)["agree"] == "waiting", json.dumps(asks)
    assert ready.project.ids() == before and ready.new.client().count("the-shop").count == 200
    done = ready.opsctl.json("playbook", "resume", "--approve", "agree")
    assert done["exit_code"] == 0, json.dumps(done)
    assert statuses(done)["switch"] == "changed" and ready.project.droplet.running() == {"rag", "other"}
    assert f"QDRANT_URL=http://127.0.0.1:{NEW}" in ready.env() and KEY not in json.dumps(done)
    back = ready.opsctl.json("playbook", "rollback", "--yes")
    assert back["exit_code"] == 0, json.dumps(back)
    assert ready.project.droplet.running() == {"qdrant", "rag", "other"}
    assert f"QDRANT_URL=http://127.0.0.1:{OLD}" in ready.env() and "QDRANT_API_KEY" not in ready.env()
    assert ready.old.client().count("the-shop").count == 200
