"""Who holds a droplet's lease, waiting for it, breaking it, and what its late owner can still do: nothing."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import Droplet, Opsctl

pytestmark = pytest.mark.sandbox
LONG = ("startup", "--only", "redis", "--settle", "300s")


def state(droplet: Droplet) -> dict[str, object]:
    """The lease of the stack."""
    (lease,) = droplet.opsctl.json("lease", "show")["droplets"][0]["result"]["leases"]
    return dict(lease)


@contextmanager
def owner(droplet: Droplet) -> Iterator[subprocess.Popen[str]]:
    """A run that has the lease, is past its gate, and goes on for minutes."""
    process = droplet.opsctl.start(*LONG)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "✓ redis" in line:
                break
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def audit(droplet: Droplet) -> list[dict[str, object]]:
    """Its runs."""
    return list(droplet.opsctl.json("audit")["droplets"][0]["result"]["runs"])


def test_a_second_command_learns_who_holds_it_and_may_wait(droplet: Droplet) -> None:
    assert state(droplet)["state"] == "free"
    with owner(droplet) as process:
        held = state(droplet)
        assert (held["state"], held["command"]) == ("held", "opsctl " + shlex.join(LONG))
        assert held["user"] and held["origin"] and held["this_boot"] and isinstance(held["seconds"], float)
        shown = droplet.opsctl("lease", "show").stdout
        assert str(held["run"]) in shown and "opsctl lease break" in shown
        assert [each["outcome"] for each in audit(droplet)] == ["running"]
        refused = droplet.opsctl("stop", "redis")
        assert refused.returncode == 6 and "next opsctl lease show" in refused.stderr
        late = droplet.opsctl("stop", "redis", "--wait", "1s")
        assert late.returncode == 6 and "waited 1.0 s for it" in late.stderr
        waiting = droplet.opsctl.start("stop", "redis", "--wait", "2m")
        assert waiting.stderr is not None
        said = waiting.stderr.readline()
        assert "the lease is held by" in said and str(held["run"]) in said and "settle" in said
        process.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 0 and "the lease is free" in err
        # What it does was planned after the wait: before it, redis ran because of the other's start.
        assert re.search(r"redis +changed", out), out
    assert [each["outcome"] for each in audit(droplet)] == ["interrupted", "done"]


def test_a_broken_lease_ends_its_owner_there_and_a_late_owner_changes_nothing(droplet: Droplet) -> None:
    with owner(droplet) as process:
        process.send_signal(signal.SIGSTOP)  # a laptop that was put to sleep
        held = state(droplet)
        asked = droplet.opsctl("lease", "break", "--reason", "asleep")
        assert asked.returncode == 2 and "there is no terminal" in asked.stderr
        looked = droplet.opsctl("lease", "break", "--reason", "asleep", "--dry-run")
        assert looked.returncode == 0 and "would be ended" in looked.stdout and state(droplet)["state"] == "held"
        done = droplet.opsctl.json("lease", "break", "--reason", "asleep", "--yes")["droplets"][0]["result"]
        assert done["broken"] and done["ended"] > 0 and done["before"]["run"] == held["run"]
        assert state(droplet)["state"] == "free"
        assert droplet.opsctl("stop", "redis").returncode == 0
        before = droplet.sh("docker inspect -f '{{.State.StartedAt}} {{.State.Status}}' $(docker ps -aq)")
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 6, err
        assert "was broken by" in err and "asleep" in err and f"--resume {held['run']}" in err
        assert droplet.sh("docker inspect -f '{{.State.StartedAt}} {{.State.Status}}' $(docker ps -aq)") == before
    first, breaking, _ = audit(droplet)
    assert first["outcome"] == "broken" and "asleep" in str(first["detail"])
    assert first["closed_by"] == breaking["run"] and breaking["name"] == "lease break"
    assert not droplet.sh("ls /var/lib/opsctl/lease | grep -e json -e broken", check=False)


def test_nothing_to_break_and_an_abandoned_one(droplet: Droplet) -> None:
    assert "nothing to break" in droplet.opsctl("lease", "break", "--reason", "x").stdout
    assert droplet.opsctl("lease", "break").returncode == 2
    wrong = droplet.opsctl("lease", "break", "--reason", "x", "--scope", "data:none")
    assert wrong.returncode == 2 and "there is no lease data:none" in wrong.stderr
    with owner(droplet) as process:
        process.kill()
        process.wait()
        bound = time.monotonic() + 60
        while state(droplet)["state"] == "held":
            assert time.monotonic() < bound
    assert state(droplet)["state"] == "abandoned"
    assert [(each["outcome"], each["closed_by"]) for each in audit(droplet)] == [("abandoned", "")]
    assert "was abandoned" in droplet.opsctl("lease", "break", "--reason", "tidy").stdout
    assert state(droplet)["state"] == "free"
    first, second = audit(droplet)
    assert first["outcome"] == "abandoned" and first["closed_by"] == second["run"]


def test_a_command_of_a_then_step_works_under_the_runs_lease(droplet: Droplet, tmp_path: Path) -> None:
    text = droplet.stack_file.read_text()
    old = "  redis: {phase: 1, "
    assert old in text
    file = tmp_path / "opsctl.yaml"
    file.write_text(text.replace(old, old + 'then: ["startup --only gateway-mcp"], '))
    opsctl = Opsctl({**droplet.opsctl.environment, "OPSCTL_STACK": str(file)}, droplet.opsctl.folder)
    done = opsctl("startup", "--only", "redis")
    assert done.returncode == 0, done.stderr
    parent, child = json.loads(opsctl("audit", "--json").stdout)["droplets"][0]["result"]["runs"]
    assert (parent["outcome"], child["outcome"], child["under"]) == ("done", "done", parent["run"])
    assert droplet.running() == {"redis", "gateway-mcp"}
