"""The audit as its reader types it: the droplet's, and what was done from here while it was away."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Droplet, Opsctl

from opsctl.spine import local_audit
from opsctl.spine.audit import Actor, Entry

pytestmark = pytest.mark.sandbox


def runs(opsctl: Opsctl, *words: str) -> list[dict[str, object]]:
    """The runs of the only droplet."""
    return list(opsctl.json("audit", *words)["droplets"][0]["result"]["runs"])


def test_every_run_with_its_outcome_and_its_steps(droplet: Droplet) -> None:
    empty = droplet.opsctl("audit")
    assert empty.returncode == 0 and "nothing is in the audit" in empty.stdout
    started = droplet.opsctl.json("startup", "--only", "redis")
    assert droplet.opsctl("stop", "redis").returncode == 0
    first, second = runs(droplet.opsctl)
    assert (first["run"], first["outcome"], first["exit_code"]) == (started["run_id"], "done", 0)
    assert first["plan"] == started["droplets"][0]["result"]["plan"]["id"]
    assert first["user"] and first["origin"] and first["login"] == "root" and isinstance(first["seconds"], float)
    assert [each["run"] for each in runs(droplet.opsctl, "--limit", "1")] == [second["run"]]
    assert "1 older runs are not shown" in droplet.opsctl("audit", "--limit", "1").stdout
    assert len(runs(droplet.opsctl, "--since", "1h")) == 2
    assert runs(droplet.opsctl, "--since", "2099-01-01") == []
    none = droplet.opsctl("audit", "--since", "2099-01-01").stdout
    assert "no run since 2099-01-01 00:00:00Z; 2 older" in none
    shown = droplet.opsctl("audit", "--run", str(first["run"]))
    assert "start redis" in shown.stdout and "changed" in shown.stdout
    one = droplet.opsctl.json("audit", "--run", str(first["run"]))["droplets"][0]["result"]
    assert {each["ended"] for each in one["steps"]} <= {"changed", "unchanged"} and len(one["steps"]) > 2
    for words, said in (
        (("--run", "nothing"), "has no run nothing"),
        (("--since", "x"), "neither a duration nor a time"),
        (("--limit", "-1"), "--limit"),
    ):
        wrong = droplet.opsctl("audit", *words)
        assert wrong.returncode == 2 and said in wrong.stderr


def test_what_was_done_from_here_is_shown_also_when_the_droplet_is_away(droplet: Droplet, tmp_path: Path) -> None:
    entry = Entry("20261120T000000-aaaaaa", "opsctl recover", "", Actor("ann", "laptop"), "", "1", name="recover")
    folder = tmp_path / "state" / "opsctl"
    local_audit.begin(entry, droplet.name, folder=folder)
    local_audit.end(entry.run_id, droplet.name, outcome="done", exit_code=0, seconds=3, folder=folder)
    local_audit.begin(replace(entry, run_id="20261120T000001-bbbbbb"), "other", folder=folder)
    environment = {**droplet.opsctl.environment, "XDG_STATE_HOME": str(tmp_path / "state")}
    opsctl = Opsctl(environment, tmp_path)
    assert opsctl("startup", "--only", "redis").returncode == 0
    assert {(each["command"], each["where"]) for each in runs(opsctl)} == {
        ("opsctl recover", "here"),
        ("opsctl startup --only redis", "droplet"),
    }
    away = tmp_path / "away.yaml"
    away.write_text(re.sub(r"root@127.0.0.1:\d+", "root@127.0.0.1:9", droplet.stack_file.read_text()))
    lost = Opsctl({**environment, "OPSCTL_STACK": str(away)}, tmp_path)
    document = lost.json("audit")
    assert document["exit_code"] == 4 and document["droplets"][0]["error"]["code"]
    assert [each["command"] for each in document["droplets"][0]["result"]["runs"]] == ["opsctl recover"]
    text = lost("audit")
    assert "opsctl recover" in text.stdout and "written on this machine" in text.stdout and text.returncode == 4


def test_wrong_arguments_with_json_are_a_document(opsctl: Opsctl) -> None:
    for words in (("audit", "--nope"), ("lease", "brea"), ("startup", "--phase", "x"), ("lease", "break")):
        done = opsctl(*words, "--json")
        assert done.returncode == 2
        document = json.loads(done.stdout)
        assert document["error"]["code"] == "usage"
        assert document["error"]["next"].endswith(("--help", "--reason TEXT"))
        assert not document["ok"] and document["exit_code"] == 2
