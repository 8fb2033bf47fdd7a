"""The bench's own arithmetic, and that every contestant is given the same plan."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
STACK = """\
droplets:
  one: {address: root@127.0.0.1:2222, key: /k, known_hosts: /h, compose: /opt/compose.yml}
services:
  web: {phase: 1, gate: {http: ":8000/health"}}
  db: {phase: 1, gate: {tcp: 5432, sql: "SELECT 1"}, then: [{sql: /opt/it's.sql}]}
  cache: {phase: 1, gate: {tcp: 6379, command: [redis-cli, ping]}}
  first: {phase: 2, one_by_one: true, gate: {tcp: 9}}
  second: {phase: 2, one_by_one: true, gate: {http: ":9/health"}}
  late: {phase: 4}
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCH))
    import plan as module

    yield module
    for name in ("plan", "series", "report", "shelling"):
        sys.modules.pop(name, None)


def test_plan_has_a_wave_for_each_one_by_one_service(plan: ModuleType, tmp_path: Path) -> None:
    stack = tmp_path / "opsctl.yaml"
    stack.write_text(STACK)
    read = plan.read_plan(stack, "one", phase=3)
    assert [[each.name for each in wave] for wave in read.waves] == [["web", "db", "cache"], ["first"], ["second"]]
    assert [plan.probe_of(each) for each in read.services] == [
        ("http", "http://127.0.0.1:8000/health"),
        ("sql", "SELECT 1"),
        ("command", "redis-cli ping"),
        ("tcp", "9"),
        ("http", "http://127.0.0.1:9/health"),
    ]


def test_shells_and_peers_read_the_same_plan(plan: ModuleType, tmp_path: Path) -> None:
    stack = tmp_path / "opsctl.yaml"
    stack.write_text(STACK)
    read = plan.read_plan(stack, "one", phase=3)
    read = plan.Plan(read.compose, read.waves, {each.name: f"p-{each.name}-1" for each in read.services})
    lines = [line.split("\t") for line in read.lines().splitlines()]
    data = json.loads(read.variables())
    for number, wave in enumerate(data["waves"], start=1):
        mine = [line[1:5] for line in lines if line[0] == str(number)]
        assert mine == [[each["name"], each["container"], each["kind"], each["target"]] for each in wave["services"]]
    assert [line[5] for line in lines if line[5] != "-"] == ["/opt/it's.sql"] == [data["schema"]]


def test_gates_are_quoted_for_the_droplet(plan: ModuleType, tmp_path: Path) -> None:
    stack = tmp_path / "opsctl.yaml"
    stack.write_text(STACK)
    read = plan.read_plan(stack, "one", phase=1)
    read = plan.Plan(read.compose, read.waves, {each.name: each.name for each in read.services})
    (tmp_path / "plan.tsv").write_text(read.lines())
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "ssh").chmod(0o755)
    script = f". {BENCH}/shell.sh; gates 1"
    argv = ["bash", "-c", script, str(BENCH / "floor.sh"), "config", str(tmp_path / "plan.tsv"), "/opt/compose.yml"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    said = subprocess.run(argv, capture_output=True, text=True, env=environment, check=True).stdout
    assert said.splitlines() == [
        "wait_for web http http://127.0.0.1:8000/health",
        "wait_for db sql SELECT\\ 1",
        "apply db /opt/it\\'s.sql",
        "wait_for cache command redis-cli\\ ping",
    ]


def test_targets_are_judged_by_the_ratio_of_medians(plan: ModuleType) -> None:
    import report
    import series

    figures = {
        "ours": series.Series("ours", (1.0, 9.0, 2.0)),
        "theirs": series.Series("theirs", (2.0, 2.0, 50.0)),
    }
    at_most = series.Target("ours", 1.0, "theirs", words="at most theirs")
    below = series.Target("ours", 1.0, "theirs", below=True, words="below theirs")
    alone = series.Target("ours", 1.5, words="quick")
    nobody = series.Target("ours", 1.5, "nobody", words="as nobody")
    section = series.Section("s", "a title", "s", figures, (at_most, below, alone, nobody))
    assert [report.verdict(section, each) for each in section.targets] == [
        "at most theirs: 1.00 × (best runs 0.50 ×), met",
        "below theirs: 1.00 × (best runs 0.50 ×), NOT met",
        "quick: 2.000 s (best runs 1.000 s), NOT met",
        "as nobody: did not run",
    ]
    assert section.ratios(at_most) == [0.5, 4.5, 0.04]


def test_contestants_take_turns_and_slow_ones_fewer(plan: ModuleType) -> None:
    import series

    order: list[str] = []

    def work(name: str) -> series.Contestant:
        return series.Contestant(name, lambda: float(order.append(name) or 1), 1 if name == "slow" else None)

    found = series.in_turn([work("a"), work("slow"), work("b")], 3, lambda _: None)
    assert order == ["a", "slow", "b", "a", "b", "a", "b"]
    assert [len(found[name].values) for name in ("a", "slow", "b")] == [3, 1, 3]


def test_one_that_does_not_run_leaves_the_others_their_turns(plan: ModuleType) -> None:
    import series
    import shelling

    turns = iter(range(9))

    def breaks() -> float:
        if next(turns) == 1:
            raise shelling.DidNotRun("recreated postgres")
        return 1.0

    contestants = [series.Contestant("breaks", breaks), series.Contestant("holds", lambda: 2.0)]
    found = series.in_turn(contestants, 3, lambda _: None)
    assert found.failed == {"breaks": "recreated postgres"}
    assert {name: each.values for name, each in found.items()} == {"holds": (2.0, 2.0, 2.0)}
    section = series.Section("s", "t", "s", found, failed=found.failed)
    assert section.figure(series.Target("breaks", 1, "holds")) is None


@pytest.mark.parametrize("script", sorted(path.name for path in BENCH.glob("*.sh")))
def test_scripts_are_bash(script: str) -> None:
    subprocess.run(["bash", "-n", str(BENCH / script)], check=True)
