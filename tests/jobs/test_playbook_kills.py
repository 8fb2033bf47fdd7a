"""`oom: none` of a playbook: whose death counts, and since when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.jobs import startup_facts
from tests.jobs.test_memory import container, facts

from opsctl.docker.kernlog import parse_ooms
from opsctl.jobs.playbook_kills import judge
from opsctl.jobs.why_times import seconds_of
from opsctl.model.engine import StackFacts
from opsctl.model.memory_facts import MemoryFacts
from opsctl.model.playbook_run import Past

OUTER, VICTIM = "e868" * 16, "a9bd" * 16
GROUPS = f"oom_memcg=/docker/{OUTER},task_memcg=/docker/{OUTER}/docker/{VICTIM}"
# As the kernel wrote it when a droplet of 2 GB had run out; only the two ids are shorter to read.
LINES = (
    f"2026-11-28T21:33:54,613313+00:00 oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={OUTER},"
    f"mems_allowed=0,{GROUPS},task=tail,pid=15737,uid=0\n"
    "2026-11-28T21:33:54,613329+00:00 Memory cgroup out of memory: Killed process 15737 (tail) total-vm:744952kB, "
    "anon-rss:742400kB, file-rss:148kB, shmem-rss:0kB, UID:0 pgtables:1496kB oom_score_adj:0\n"
)
KILLED = seconds_of("2026-11-28T21:33:54+00:00") or 0.0


def stack(*names: str, **more: object) -> StackFacts:
    """Services `a` and `b`, with the ids that their memory is known by; `more` is said of `a`'s container."""
    made = [replace(startup_facts.container(name), id=name * 8) for name in names]
    made[0] = replace(made[0], **more)  # type: ignore[arg-type]
    return startup_facts.facts([startup_facts.compose(name) for name in names], made)


def memory(*, readable: bool = True, stamp: str = "", **more: object) -> MemoryFacts:
    """The log names `a`; `more` is what `a`'s cgroup says."""
    text = LINES.replace(VICTIM, "a" * 64) if not stamp else LINES.replace("2026-11-28T21:33:54,", stamp)
    ooms = tuple(replace(each, victim_id="a" * 8) for each in parse_ooms(text.splitlines(), 0, {VICTIM}, OUTER))
    return facts(container("a", 1, 9, **more), container("b", 1, 9), ooms=ooms if readable else None)


@pytest.mark.parametrize(("since", "holds"), [(KILLED - 60, False), (KILLED + 0.9, False), (KILLED + 1, True)])
def test_a_kill_counts_from_the_second_on_in_which_the_run_began(since: float, *, holds: bool) -> None:
    good, said = judge(memory(), stack("a", "b"), since)
    assert good is holds
    assert said.endswith(": a") is not holds
    assert "since 21:3" in said


def test_one_that_is_not_of_the_stack_is_not_the_stacks() -> None:
    good, _ = judge(memory(), stack("b"), KILLED - 60)
    assert good


def test_its_own_counter_counts_where_it_began_in_the_run() -> None:
    later = {"oom_kills": 1, "started_at": "2026-11-28T21:40:00Z"}
    assert judge(memory(readable=False, **later), stack("a", "b"), KILLED + 1)[0] is False
    assert judge(memory(readable=False, **later), stack("a", "b"), KILLED + 3600)[0] is True


@pytest.mark.parametrize("ooms", [{"readable": False}, {"stamp": "[  123."}])
def test_without_times_in_the_log_the_engines_mark_of_one_that_ended_counts(ooms: dict[str, object]) -> None:
    ended = {"status": "exited", "exit_code": 137, "oom_killed": True, "finished_at": "2026-11-28T21:33:56.816Z"}
    seen = memory(**ooms)  # type: ignore[arg-type]
    assert judge(seen, stack("a", "b", **ended), KILLED)[0] is False
    good, said = judge(seen, stack("a", "b", **ended), KILLED + 60)
    assert good
    assert "without the kernel log" in said


def test_with_the_log_the_mark_is_not_asked() -> None:
    stopped = {"status": "exited", "exit_code": 137, "oom_killed": True, "finished_at": "2026-11-28T21:50:00Z"}
    assert judge(memory(), stack("b", "a", **stopped), KILLED + 60)[0] is True


def test_a_run_that_failed_and_is_gone_on_with_looks_at_what_comes_then() -> None:
    lines = [
        {"event": "run", "at": "1"},
        {"event": "state", "state": "running", "at": "2"},
        {"event": "state", "state": "waiting", "at": "3"},
        {"event": "state", "state": "running", "at": "4"},
    ]
    assert Past.of(lines).began == "1", "an approval may take days, and what dies meanwhile counts"
    lines += [{"event": "state", "state": "failed", "at": "5"}, {"event": "state", "state": "running", "at": "6"}]
    assert Past.of(lines).began == "6"
    assert Past().began == ""
