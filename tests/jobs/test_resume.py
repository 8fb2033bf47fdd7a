"""Which run is gone on with, and what is told about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import typer

from opsctl.cli.main import build, with_last
from opsctl.jobs.resume import RESUMABLE, Unfinished, adopted, compare, meaning, resuming, without_resume
from opsctl.model.audit import AuditRun, JournalStep
from opsctl.model.errors import UsageError

RUN = "20261120T185312-3f9a1c"


def test_the_command_that_goes_on_has_the_same_options() -> None:
    assert resuming("opsctl startup --phase 2 -d 'a b'", RUN) == f"opsctl startup --phase 2 -d 'a b' --resume {RUN}"
    assert resuming(f"opsctl stop --resume {RUN} redis", "20261120T185313-aaaaaa") == (
        "opsctl stop redis --resume 20261120T185313-aaaaaa"
    )
    assert resuming("opsctl stop --resume redis", RUN) == f"opsctl stop redis --resume {RUN}"
    assert resuming("opsctl x -- y", RUN) == f"opsctl x --resume {RUN} -- y"
    assert without_resume(f"opsctl stop --resume={RUN} redis") == "opsctl stop redis"


def test_a_resume_without_a_run_means_the_last() -> None:
    assert with_last(("stop", "--resume", "redis")) == ["stop", "--resume", "last", "redis"]
    assert with_last(("stop", "--resume")) == ["stop", "--resume", "last"]
    assert with_last(("stop", "--resume", RUN)) == ["stop", "--resume", RUN]
    assert with_last(("exec", "x", "--", "--resume")) == ["exec", "x", "--", "--resume"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("opsctl startup --phase 2", f"opsctl startup -d x --phase=2 --resume {RUN} --json --wait 5m -v", True),
        ("opsctl startup --phase 2", "opsctl startup --phase 1", False),
        ("opsctl startup --phase 2", "opsctl startup --phase 2 --ignore-memory", False),
        ("opsctl stop --yes", "opsctl stop --stack /a/b", True),
        ("opsctl stop redis", "opsctl stop --resume redis", True),
    ],
)
def test_what_is_asked_for_is_compared_and_not_where_or_how_loud(one: str, other: str, same: bool) -> None:
    assert (meaning(one) == meaning(other)) is same


def test_without_options_those_of_the_run_are_meant() -> None:
    run = AuditRun(RUN, "2026-11-20T18:53:12Z", "failed", "opsctl startup --phase=2 -d a --json", name="startup")
    again = ("startup", "-d", "b", "-v", "--resume")
    assert adopted(again, "startup", run) == ("startup", "--phase", "2", "-d", "b", "-v", "--resume", RUN)
    assert adopted(("startup", "--phase", "1", "--resume"), "startup", run) is None
    assert adopted(("deploy", "--resume"), "deploy", run) is None
    assert adopted(("startup", "--resume"), "startup", replace(run, command="opsctl startup --only ***")) is None


def test_a_word_that_is_no_run_is_called_that() -> None:
    with pytest.raises(UsageError) as caught:
        with_last(("startup", "--resume", "nosuch"))
    assert "'nosuch' is no run id" in caught.value.info.what and caught.value.info.next == "opsctl audit"


def test_the_commands_with_resume_are_known() -> None:
    app = build((), everything=True)
    found = {
        name
        for name, each in typer.main.get_group(app).commands.items()
        if any(p.name == "resume" for p in each.params)
    }
    assert found == set(RESUMABLE)


def step(name: str, kind: str, title: str = "") -> dict[str, object]:
    return {"id": name, "title": title or name, "action": {"kind": kind}}


def test_what_was_done_is_compared_with_what_is_planned_now() -> None:
    run = AuditRun(RUN, "2026-11-20T18:53:12Z", "abandoned", "opsctl startup", "ann", "laptop")
    steps = (
        JournalStep("create", "create a", "done"),
        JournalStep("gate:a", "gate:a", "changed"),
        JournalStep("start:a", "start:a", "changed"),
        JournalStep("start:b", "start:b", "under way"),
    )
    found = Unfinished(run, steps)
    head, *more = compare(
        found, [step("create", "create", "create b"), step("gate:a", "gate"), step("start:b", "start")]
    )
    assert head.startswith(f"resumes run {RUN} (ann from laptop, abandoned, begun 2026-11-20T18:53:12Z)")
    assert "2 of 4 steps are done; goes on with: create b" in head and not more
    (head,) = compare(found, [step("gate:a", "gate"), step("start:b", "start")])
    assert head.endswith("goes on with: start:b (under way then)")
    _, lost = compare(found, [step("start:a", "start"), step("start:b", "start")])
    assert lost == "done then, and not so any more: start:a"
    (looks,) = compare(found, [step("gate:a", "gate"), step("settle", "settle")])
    assert looks.endswith("everything is done but to look at it again, as with: settle")
    (over,) = compare(replace(found, finished="later"), [step("gate:a", "gate")])
    assert "everything is done: run later did the rest" in over
    (lost, _) = compare(replace(found, finished=RUN), [step("start:a", "start")])
    assert "everything is done" not in lost
    (nothing,) = compare(found, [step("keep:a", "keep")])
    assert nothing.endswith("nothing is left of it, all of it is so already")
    assert compare(replace(found, run=None, reason="run x did nothing here"), []) == (
        "run x did nothing here: planned from what is there",
    )
