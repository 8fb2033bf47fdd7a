"""The audit and the journals read back: every run has an outcome, whatever was cut off."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

from opsctl.model.errors import StepFailed
from opsctl.model.events import Outcome
from opsctl.model.plan import Action, Plan, Step
from opsctl.model.ports import Script
from opsctl.model.run import RunResult, StepResult
from opsctl.spine import audit, holders, journal, processes, records
from opsctl.spine.audit import Actor, Entry


def entry(run: str, **more: str) -> Entry:
    return Entry(run, f"opsctl startup  # {run}", "p", Actor("ann", "laptop"), "", "1", name="startup", **more)


def bash(script: Script) -> str:
    done = subprocess.run(["bash", "-c", script.text, "bash", *script.args], check=True, capture_output=True, text=True)
    return done.stdout


def written(folder: Path, *lines: str) -> list[str]:
    bash(audit.append(str(folder), lines))
    return bash(records.read(str(folder), 1000)).splitlines()


def test_each_run_has_its_outcome(tmp_path: Path) -> None:
    assert bash(records.read(str(tmp_path), 10)) == ""
    lines = written(
        tmp_path,
        audit.begin(entry("r1")),
        audit.end("r1", outcome="failed", exit_code=7, seconds=1.5, detail="no"),
        audit.begin(entry("r2")),
        audit.abandoned({"run": "r2"}, "r3"),
        audit.abandoned({"run": "r0", "user": "bob", "command": "opsctl stop"}, "r3"),  # died before its first line
        audit.begin(entry("r3")),
        audit.begin(entry("r4", under="r3")),
        audit.begin(entry("r5")),
    )
    found = {each.run: each for each in records.runs([*lines, '{"half'], holding=("r3",))}
    assert {name: each.outcome for name, each in found.items()} == {
        "r0": "abandoned",
        "r1": "failed",
        "r2": "abandoned",
        "r3": "running",
        "r4": "running",
        "r5": "abandoned",
    }
    assert (found["r1"].exit_code, found["r1"].seconds, found["r1"].detail) == (7, 1.5, "no")
    assert (found["r2"].closed_by, found["r5"].closed_by) == ("r3", "")
    assert (found["r0"].user, found["r0"].command) == ("bob", "opsctl stop")


def test_a_run_in_several_parts_is_several_lines(tmp_path: Path) -> None:
    part = (audit.begin(entry("r1")), audit.end("r1", outcome="done", exit_code=0, seconds=1))
    found = records.runs(written(tmp_path, *part, *part, audit.begin(entry("r1"))))
    assert [each.outcome for each in found] == ["done", "done", "abandoned"]


def test_what_was_begun_here_runs_as_long_as_its_process_and_no_longer() -> None:
    def line(pid: int, born: str, run: str) -> str:
        return json.dumps({"at": "", "event": "begin", "run": run, "pid": pid, "born": born})

    dead = subprocess.Popen(["sleep", "60"])
    was = processes.born(dead.pid)
    dead.kill()
    dead.wait()
    ours = os.getpid(), processes.born(os.getpid())
    lines = [
        line(*ours, "a"),
        line(dead.pid, was, "b"),
        line(ours[0], was, "its number again"),
        line(ours[0], "", "old"),
    ]
    found = records.runs(lines, where="here")
    assert [each.outcome for each in found] == ["running", "abandoned", "abandoned", "abandoned"]


def test_the_steps_of_a_journal(tmp_path: Path) -> None:
    def steps(*lines: str) -> dict[str, str]:
        bash(audit.append(str(tmp_path), (), journal="", line=""))
        (tmp_path / "runs").mkdir(exist_ok=True)
        for each in lines:
            bash(audit.append(str(tmp_path), (), journal="r1", line=each))
        text = bash(records.read_journal(str(tmp_path), "r1"))
        return {each.id: each.ended for each in records.steps(text.splitlines())[1]}

    names = ("a", "b", "c", "d", "e")
    plan = Plan("x", tuple(Step(name, f"do {name} hush", Action()) for name in names))
    hide = lambda text: text.replace("hush", "•••")  # noqa: E731 - as short as it is
    first = journal.head(plan, run="r1", name="x", command="opsctl x", redact=hide)
    assert "hush" not in first
    assert set(steps(first).values()) == {"not begun"}
    path = str(tmp_path / "runs" / "r1.jsonl")
    for name, text in (("a", "true"), ("b", "exit 3"), ("c", "kill -9 $$")):
        script = journal.wrap(Script(text), path, steps=(name,), kind="x")
        subprocess.run(["bash", "-c", script.text, "bash", *script.args], check=False)
    assert steps() == {"a": "done", "b": "failed", "c": "under way", "d": "not begun", "e": "not begun"}
    error = StepFailed("no hush").info
    ends = (("a", Outcome.CHANGED), ("b", Outcome.FAILED), ("c", Outcome.SKIPPED), ("d", Outcome.UNCHANGED))
    results = tuple(StepResult(name, name, "x", "", 0, outcome, detail="hush", error=error) for name, outcome in ends)
    last = journal.tail(RunResult("r1", "p", "x", results, 1.0, undone=("a",)), redact=hide)
    assert "hush" not in last
    assert steps(last) == {"a": "taken back", "b": "failed", "c": "skipped", "d": "unchanged", "e": "not begun"}


def test_leases_are_told_by_their_locks_and_notes(tmp_path: Path) -> None:
    folder = tmp_path / "lease"
    folder.mkdir()
    assert [each.state for each in holders.parse(bash(holders.read(str(tmp_path))))] == ["free"]
    for name in ("stack", "data-memory", "half"):
        (folder / f"{name}.lock").touch()
    (folder / "data-memory.json").write_text('{"run": "r1", "user": "bob", "boot_id":"x","uptime":"1","pid":"7"}\n')
    (folder / "half.json").write_text('{"run": "r')
    with (folder / "data-memory.lock").open() as lock:
        subprocess.run(["flock", "-n", str(lock.fileno())], pass_fds=(lock.fileno(),), check=True)
        held = holders.parse(bash(holders.read(str(tmp_path))))
    assert [(each.scope, each.state) for each in held] == [
        ("stack", "free"),
        ("data:memory", "held"),
        ("half", "abandoned"),
    ]
    assert (held[1].user, held[1].run, held[1].pid, held[1].this_boot, held[1].seconds) == ("bob", "r1", 7, False, None)


def test_old_copies_go_and_the_last_ones_stay(tmp_path: Path) -> None:
    for number in range(6):
        copy = tmp_path / f"r{number}-box.jsonl"
        copy.write_text("{}\n")
        os.utime(copy, (time.time() - (6 - number) * 1000,) * 2)
    journal.prune(tmp_path, keep=4, seconds=3500)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r3-box.jsonl", "r4-box.jsonl", "r5-box.jsonl"]
    journal.prune(tmp_path, keep=2, seconds=3500)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r4-box.jsonl", "r5-box.jsonl"]
    journal.prune(tmp_path / "none")
    for number in range(250):
        journal.LocalCopy(f"n{number:03}", "box", folder=tmp_path).write({"event": "x"})
    assert len(list(tmp_path.iterdir())) == 200


def test_ids_of_runs_come_in_their_order_within_a_second_too() -> None:
    made = []
    for _ in range(50):
        made.append(processes.new_run_id())
        time.sleep(0.001)
    assert made == sorted(made)
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", made[0])
