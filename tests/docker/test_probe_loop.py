"""The loop of probes itself, with a client in the engine's place that behaves as badly as the real one may."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from opsctl.docker import probe
from opsctl.docker.probe import parse_probe, probe_script
from opsctl.model.engine import ProbeSpec, ProbeState
from opsctl.model.stack import Gate

RUNNING = "id-a|running|0|false||2026-01-01T00:00:00Z|bridge|172.18.0.2 ||always"


def looped(
    folder: Path,
    *,
    events: str,
    inspect: str = f"echo '{RUNNING}'",
    within: float = 3.0,
    takes: float = 0.2,
    grace: float = 0.7,
) -> list[ProbeState]:
    """What the loop says of one service whose command passes after `takes` s. `events`, `inspect`: shell text."""
    docker = folder / "docker"
    docker.write_text(
        f'#!/bin/bash\ncase "$1 $2" in\n"container inspect") {inspect} ;;\n"exec id-a") sleep {takes} ;;\n'
        f'"events --since") {events} ;;\nesac\n'
    )
    docker.chmod(0o755)
    none: frozenset[str] = frozenset()
    built = probe_script(
        [ProbeSpec("a", "id-a", Gate(command=("check",), within=within), (), {}, ())],
        interval=0.05,
        since="1.5",
        settle=0,
        watch={},
        one_shot=none,
        tolerant=none,
        socket="",
        direct=True,
        grace=grace,
    )
    argv = ["bash", "-c", built.text, "bash", *built.args]
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env={**os.environ, "PATH": path})
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [state for line in done.stdout.splitlines() if (state := parse_probe(line))]


def test_a_verdict_is_not_lost_in_the_middle_of_an_event(tmp_path: Path) -> None:
    """Docker's client writes each piece of its format by itself."""
    events = "while :; do printf 'E|id-a'; sleep 1; printf '||top\\n' || exit; done"
    assert looped(tmp_path, events=events)[-1] == ProbeState("a", "passed", "check passes")


def test_a_death_counts_and_what_runs_inside_does_not(tmp_path: Path) -> None:
    events = "echo 'E|id-a|0|exec_die'; echo 'E|id-a|3|die'; exec sleep 20"
    inspect = f"""case "$4" in '{{{{.State.OOM'*) echo 'false|exited|' ;; *) echo '{RUNNING}' ;; esac"""
    states = looped(tmp_path, events=events, inspect=inspect)
    assert states[-1] == ProbeState("a", "restarting", "exit code 3, and its restart policy starts it again")


def test_an_engine_that_is_gone_is_no_error_of_the_shell(tmp_path: Path) -> None:
    states = looped(tmp_path, events="exit 1", inspect="echo; exit 1")
    assert [state.state for state in states] == ["gone"]


def test_a_first_try_on_a_busy_machine_may_take_longer_than_the_bound_where_that_was_allowed(tmp_path: Path) -> None:
    quiet = "exec sleep 20"
    assert looped(tmp_path, events=quiet, within=0.2, takes=2)[-1] == ProbeState("a", "timeout", "no answer")
    late = looped(tmp_path, events=quiet, within=0.2, takes=2, grace=15)
    assert late[-1] == ProbeState("a", "passed", "check passes")


@pytest.mark.parametrize(("took", "rest"), [(50, "0.100"), (1205, "2.410"), (2500, "5.000"), (15000, "5.000")])
def test_a_slow_probe_rests_for_twice_its_time_and_never_for_more_than_five_seconds(took: int, rest: str) -> None:
    text = Path(probe.__file__).with_name("probe.sh").read_text(encoding="utf-8")
    (function,) = [line for line in text.splitlines() if line.startswith("rest_after()")]
    script = f'{function}\nrest_after {took}; printf %s "$pause"; read -r -t 0.001 -u 8; [ $? -gt 128 ]'
    done = subprocess.run(["bash", "-c", f"exec 8<> <(:); {script}"], capture_output=True, text=True, check=True)
    assert done.stdout == rest
    assert text.count("rest_after ") == 1, "the loop asks it, and nothing else says how long it rests"


def test_what_ended_as_it_was_told_was_not_killed_though_the_engine_marks_it(tmp_path: Path) -> None:
    """Where the droplet ran out, engines on cgroup v1 mark all of its containers."""
    inspect = f"""case "$4" in '{{{{.State.OOM'*) echo 'true|exited|' ;; *) echo '{RUNNING}' ;; esac"""
    for code, state in ((143, "restarting"), (137, "oom")):
        states = looped(tmp_path, events=f"echo 'E|id-a|{code}|die'; exec sleep 20", inspect=inspect)
        assert states[-1].state == state, states
