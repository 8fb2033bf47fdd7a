"""Playbooks on a real droplet: approved, resumed by somebody else, killed, failed, taken back."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Droplet, Opsctl
from tests.jobs.startup_droplet import DEFAULT, Small, small

pytestmark = pytest.mark.sandbox

TWO = """version: 1
title: Two services, with a question between them
vars:
  first: {type: services, default: [good]}
steps:
  - id: first
    title: The first service
    job: {startup: {only: "${first}"}}
    probe: {service: "${first}"}
    undo: {job: {stop: {services: "${started}"}}, probe: {service: "${first}", state: stopped}}
  - id: ask
    approve: The second one, too?
  - id: second
    title: The second service
    job: {startup: {only: good2}}
    probe: [{service: good2}, {memory: 10MB, for: 1s, every: 500ms}, {oom: none}]
    undo: {job: {stop: {services: "${started}"}}}
"""


@pytest.fixture
def stack(droplet: Droplet, tmp_path: Path) -> Small:
    """Two small services, and a folder for playbooks of the stack's own."""
    made = small(droplet, tmp_path)
    made.services("good", f"good2: {DEFAULT}", f"slow: {DEFAULT.replace('20s', '2s')}", f"later: {DEFAULT}")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "two.yaml").write_text(TWO)
    return made


def elsewhere(stack: Small, folder: Path) -> Opsctl:
    """opsctl of another machine, which has the stack file and nothing else."""
    folder.mkdir()
    return replace(
        stack.opsctl, environment={**stack.opsctl.environment, "XDG_STATE_HOME": str(folder), "HOME": str(folder)}
    )


def steps(document: dict[str, object]) -> dict[str, str]:
    """Step → how it fared."""
    result = document["droplets"][0]["result"]  # type: ignore[index]
    return {each["id"]: each["status"] for each in result["steps"]}


def up(stack: Small) -> tuple[str, str]:
    return stack.state("good"), stack.state("good2")


def test_what_is_killed_for_memory_while_it_runs_fails_its_proof_and_nothing_else_is_blamed(stack: Small) -> None:
    assert stack.opsctl.json("playbook", "run", "two")["exit_code"] == 5
    broken = stack.droplet.opsctl("sandbox", "break", "oom", "--victim", "good")
    assert broken.returncode == 0, broken.stderr
    mended = stack.droplet.opsctl("sandbox", "mend", "oom")
    assert mended.returncode == 0, mended.stderr
    failed = stack.opsctl.json("playbook", "resume", "--approve", "ask")
    assert failed["exit_code"] == 7, failed
    why = failed["droplets"][0]["error"]["why"]
    assert "killed for memory since" in why and why.endswith(": good"), why
    # Whoever goes on has seen that, and mended it: it is no reason to fail for ever.
    done = stack.opsctl.json("playbook", "resume")
    assert (done["exit_code"], steps(done)["second"]) == (0, "unchanged"), done


def test_it_stops_at_a_question_and_somebody_else_goes_on_and_takes_it_back(stack: Small, tmp_path: Path) -> None:
    dry = stack.opsctl.json("playbook", "run", "two", "--dry-run")
    assert steps(dry) == {"first": "would change", "ask": "would ask", "second": "would change"}
    assert up(stack) == ("", ""), "a dry run changes nothing"
    assert stack.audit() == []

    stopped = stack.opsctl.json("playbook", "run", "two")
    assert (stopped["exit_code"], steps(stopped)) == (5, {"first": "changed", "ask": "waiting", "second": "open"})
    run = stopped["run_id"]
    assert stopped["droplets"][0]["error"]["next"] == f"opsctl playbook resume {run} --approve ask"
    assert up(stack) == ("running", "")

    (tmp_path / "playbooks" / "two.yaml").write_text("version: 1\n")  # what was begun is gone on with
    other = elsewhere(stack, tmp_path / "other")
    done = other.json("playbook", "resume", "--approve", "ask")
    assert (done["exit_code"], done["run_id"]) == (0, run)
    assert steps(done) == {"first": "unchanged", "ask": "approved", "second": "changed"}
    assert up(stack) == ("running", "running")
    lines = [json.loads(each) for each in stack.droplet.sh(f"cat /var/lib/opsctl/playbooks/{run}.jsonl").splitlines()]
    assert [each["step"] for each in lines if each["event"] == "approved"] == ["ask"]

    stack.opsctl("startup", "--only", "later")  # somebody else's, and not this run's to take back
    back = stack.opsctl.json("playbook", "rollback", run, "--yes")
    assert (back["exit_code"], steps(back)["second"], steps(back)["first"]) == (0, "changed", "changed")
    assert (*up(stack), stack.state("later")) == ("exited", "exited", "running")
    again = stack.opsctl("playbook", "rollback", run, "--yes")
    assert again.returncode == 0
    refused = stack.opsctl("playbook", "resume", run)
    assert (refused.returncode, "was taken back" in refused.stderr) == (2, True)
    runs = stack.opsctl.json("playbook", "list", "--runs")["droplets"][0]["result"]["runs"]
    assert [(each["run"], each["state"]) for each in runs] == [(run, "rolled back")]
    events = [json.loads(line) for line in stack.audit()]
    begun = sorted(each["run"] for each in events if each["event"] == "begin")
    assert begun == sorted(each["run"] for each in events if each["event"] == "end"), "the audit has no hole"


def test_killed_in_the_middle_it_is_resumed_and_taken_back_whole(stack: Small) -> None:
    process = stack.opsctl.start("playbook", "run", "two", "--var", "first=good,later", "--approve", "ask")
    assert process.stderr is not None
    for line in process.stderr:
        if "created good" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    open_ = stack.opsctl.json("playbook", "list", "--runs")["droplets"][0]["result"]["runs"]
    assert [each["state"] for each in open_] == ["running"]

    done = stack.opsctl.json("playbook", "resume", "--approve", "ask", "--wait", "60s")
    assert (done["exit_code"], done["run_id"]) == (0, open_[0]["run"])
    assert (*up(stack), stack.state("later")) == ("running",) * 3
    back = stack.opsctl.json("playbook", "rollback", "--yes")
    assert (back["exit_code"], back["run_id"]) == (0, open_[0]["run"])
    assert (*up(stack), stack.state("later")) == ("exited",) * 3, "what the killed part did counts, too"
    assert stack.lease_is_free()


def test_a_step_that_fails_says_how_to_go_on_and_how_to_go_back(stack: Small) -> None:
    file = stack.file.parent / "playbooks" / "fails.yaml"
    file.write_text(
        TWO.replace("startup: {only: good2}", "startup: {only: slow}").replace("service: good2", "service: slow")
    )
    failed = stack.opsctl("playbook", "run", "fails", "--approve", "ask")
    assert failed.returncode == 7
    run = failed.stdout.split("run ")[-1].strip()
    assert failed.stderr.rstrip().endswith(f"opsctl playbook resume {run}")
    assert f"opsctl playbook rollback {run}" in failed.stdout
    assert stack.state("good") == "running"
    back = stack.opsctl.json("playbook", "rollback", "--yes")
    assert back["exit_code"] == 0
    assert stack.state("good") == "exited"


def test_steps_that_need_nothing_of_each_other_fail_alone_and_a_condition_skips(stack: Small) -> None:
    file = stack.file.parent / "playbooks" / "graph.yaml"
    file.write_text("""version: 1
title: A graph
steps:
  - {id: tried, needs: [], job: {startup: {only: slow}}, may_fail: true}
  - {id: skipped, needs: [], precondition: {service: good}, otherwise: skip, job: {stop: {services: good}}}
  - {id: looked, needs: [], probe: {reachable: true}}
  - {id: last, needs: [tried, skipped, looked], probe: [{service: good, not: true}, {http: ":9/", not: true}]}
""")
    done = stack.opsctl.json("playbook", "run", "graph")
    assert done["exit_code"] == 0
    assert steps(done) == {"tried": "skipped", "skipped": "skipped", "looked": "unchanged", "last": "unchanged"}


def test_what_only_the_droplet_can_tell_is_checked_before_the_first_step(stack: Small) -> None:
    wrong = stack.opsctl.json("playbook", "run", "two", "--var", "first=god")
    assert (wrong["exit_code"], wrong["droplets"][0]["error"]["line"]) == (3, 8)
    assert 'did you mean "good"' in wrong["droplets"][0]["error"]["why"]
    file = stack.file.parent / "playbooks" / "far.yaml"
    file.write_text("version: 1\ntitle: T\nsteps:\n  - {id: a, droplet: nowhere, job: startup}\n")
    assert stack.opsctl.json("playbook", "run", "far")["droplets"][0]["error"]["line"] == 4
    file.write_text(
        "version: 1\ntitle: T\nvars: {k: {type: secret, env: NOT_SET_X}}\n"
        'steps:\n  - {id: a, probe: {http: ":1/", bearer: "${k}"}}\n'
    )
    unset = stack.opsctl.json("playbook", "run", "far")
    assert (unset["exit_code"], unset["droplets"][0]["error"]["what"]) == (3, "$NOT_SET_X is not set")
    assert up(stack) == ("", "")
    assert stack.audit() == []
