"""What a run shows: lines while it works, a summary, a diagnosis; nothing secret."""

from __future__ import annotations

import dataclasses

import pytest
from tests.jobs.startup_facts import DROPLET, MB, compose, container, facts, service, stack

from opsctl.jobs.startup_plan import plan
from opsctl.jobs.startup_report import cut_short, report
from opsctl.jobs.startup_select import Options
from opsctl.model.engine import HealthResult
from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.events import Note, Outcome, PhaseStarted, StepEnded, StepStarted, StepWaiting
from opsctl.model.operate import Diagnosis
from opsctl.model.run import Changed, RunResult, StepResult
from opsctl.render.progress import Lines, line_of
from opsctl.render.run import diagnosis_lines, print_changed

DIAGNOSIS = Diagnosis(
    "app", "exited", 3, 2, "limit", 42 * MB, "", (HealthResult(1, "sick\n", ""),), ("PASSWORD=hunter2222", "end"),
    ("oom-kill: x",), None, None, "it was killed", "raise it",
)  # fmt: skip


def masked(text: str) -> str:
    return text.replace("hunter2222", "•••")


def changed(outcome: Outcome = Outcome.FAILED) -> Changed:
    found = facts([compose("app"), compose("db")], [container("app", "exited"), container("db", health="healthy")])
    planned = plan(found, stack(service("db"), service("app", 2)), DROPLET, Options())
    outcomes = {"keep:db": Outcome.UNCHANGED, "start:app": Outcome.CHANGED, "gate:app": outcome}
    steps = tuple(
        StepResult(
            id=step.id,
            title=step.title,
            kind=step.action.kind,
            service=step.service,
            phase=step.phase,
            outcome=outcomes.get(step.id, Outcome.UNCHANGED),
            seconds=1.0,
            detail="it exited" if step.id == "gate:app" else "",
            error=ErrorInfo("x", "no") if outcomes.get(step.id) is Outcome.FAILED else None,
            exit_code=ExitCode.GATE if outcomes.get(step.id) is Outcome.FAILED else ExitCode.DONE,
            diagnosis=DIAGNOSIS if step.id == "gate:app" else None,
        )
        for step in planned.plan.steps
    )
    run = RunResult("r", planned.plan.id, "startup", steps, 3.0)
    return Changed(False, planned.plan.to_json(), ("a note",), report(planned.plan, run), run, 2000 * MB, 800 * MB)


def test_a_service_fares_as_its_worst_step() -> None:
    db, app = changed().services
    assert (db.service, db.outcome) == ("db", Outcome.UNCHANGED)
    assert (app.service, app.phase, app.outcome, app.detail) == ("app", 2, Outcome.FAILED, "it exited")
    cut_short = changed(Outcome.SKIPPED).services[1]
    assert (cut_short.outcome, cut_short.detail) == (Outcome.CHANGED, "started, its gate was not awaited: it exited")


@pytest.mark.parametrize("columns", ["40", "80", "160"])
def test_the_summary_fits_and_hides_what_is_secret(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    print_changed("d", changed(), redact=masked)
    out, err = capsys.readouterr()
    table = out.split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= int(columns)
    out = " ".join(out.split())
    assert "app" in out and "failed" in out and "800 MB of 2000 MB memory available" in out and "note: a note" in out
    assert "hunter2222" not in err and "•••" in err
    assert "yes, by its own limit" in err and "likely cause" in err and "sick" in err


def test_a_dry_run_shows_the_steps_and_says_that_nothing_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    dry = dataclasses.replace(changed(), dry_run=True, run=None)
    print_changed("d", dry, redact=masked)
    out = capsys.readouterr().out
    assert "start app" in out and "unchanged: db" in out and "nothing was changed (dry run)" in out


def dry_run(available: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    found = facts([compose("db"), compose("app"), compose("web")], available=available)
    wanted = stack(service("db"), service("app", 2, one_by_one=True), service("web", 2, one_by_one=True))
    planned = plan(found, wanted, DROPLET, Options())
    print_changed("d", Changed(True, planned.plan.to_json(), (), (), None, 2000 * MB, available), redact=masked)
    return capsys.readouterr().out.splitlines()


def test_a_dry_run_says_what_fits_by_the_figures_of_now(capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(900 * MB, capsys)
    assert lines[0] == "900 MB of 2000 MB memory available now"
    assert "phase 1  needs 50 MB + 200 MB reserve, about 900 MB left by then: fits" in lines
    assert "phase 2  needs 100 MB + 200 MB reserve, about 850 MB left by then: fits" in lines
    short = dry_run(330 * MB, capsys)
    assert "phase 2  needs 100 MB + 200 MB reserve, about 280 MB left by then: 20 MB short for web" in short


def test_a_dry_run_tells_apart_what_is_created_and_the_phases(capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(900 * MB, capsys)
    made = ["containers", "  create db", "  create app, web   (while what starts first comes up)"]
    assert lines[1:4] == made and lines[4].startswith("phase 1 ")
    assert sum("create" in line for line in lines) == 2


def deploy_step(kind: str, name: str, phase: int, **action: object) -> dict[str, object]:
    return {
        "id": f"{kind}:{name}",
        "title": f"{kind} {name}",
        "service": name,
        "phase": phase,
        "action": {"kind": kind, **action},
    }


def deploy_dry_run(replaces: tuple[str, ...], available: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """app and web are recreated in phase 3, grafana in phase 4; `rest` is recreated and stays stopped."""
    steps = [deploy_step("room", "", 0, replaces=replaces)]
    for name, phase in (("app", 3), ("web", 3), ("grafana", 4)):
        expected = [{"service": name, "bytes": 100 * MB, "source": "stack"}]
        steps.append(deploy_step("recreate", name, phase, container=f"id-{name}"))
        steps.append(deploy_step("memory", name, phase, expected=expected, reserve=200 * MB))
    steps += [deploy_step("recreate", name, 3, container=f"id-{name}") for name in ("rest", "other")]
    steps.append(deploy_step("finish", "", 0))
    shown = {"id": "1", "steps": steps}
    print_changed("d", Changed(True, shown, (), (), None, 2000 * MB, available), redact=masked)
    return capsys.readouterr().out.splitlines()


def test_a_forecast_counts_what_is_recreated_while_it_runs_as_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    lines = deploy_dry_run(("id-app", "id-web"), 330 * MB, capsys)
    assert "phase 3  needs 0 B more + 200 MB reserve, about 330 MB left by then: fits" in lines
    # grafana did not run: it gives nothing back.
    assert "phase 4  needs 100 MB + 200 MB reserve, about 330 MB left by then: fits" in lines
    short = deploy_dry_run(("id-app",), 330 * MB, capsys)
    assert "phase 3  needs 100 MB more + 200 MB reserve, about 330 MB left by then: fits" in short
    assert "phase 4  needs 100 MB + 200 MB reserve, about 230 MB left by then: 70 MB short for grafana" in short


def test_what_is_recreated_and_stays_stopped_comes_once_after_the_phases(capsys: pytest.CaptureFixture[str]) -> None:
    lines = deploy_dry_run(("id-app",), 900 * MB, capsys)
    assert [line.split("  ")[0] for line in lines if line.startswith("phase ")] == ["phase 3", "phase 4"]
    assert lines[lines.index("afterwards") :][:4] == ["afterwards", "  recreate rest", "  recreate other", "  finish "]


def test_what_stays_on_the_screen() -> None:
    def text(event: object, **more: bool) -> str:
        line = line_of(event, **more)  # type: ignore[arg-type]
        return line.plain if line is not None else ""

    phase = PhaseStarted("d", 2, ("app",), 180 * MB, 200 * MB, 900 * MB)
    assert text(phase) == "phase 2  app  needs 180 MB + 200 MB reserve, 900 MB available"
    assert text(phase, many=True).startswith("d: phase 2")
    assert "✓ app  HTTP 200  1.5 s" in text(StepEnded("d", "gate:app", Outcome.UNCHANGED, 1.5, "HTTP 200", "app"))
    assert "✗ app  it exited" in text(StepEnded("d", "gate:app", Outcome.FAILED, 0.0, "it exited", "app"))
    assert "· db  already healthy" in text(StepEnded("d", "keep:db", Outcome.UNCHANGED, 0.0, "healthy", "db"))
    assert text(StepEnded("d", "start:app", Outcome.CHANGED, 1.0, "started", "app")) == ""
    assert text(StepEnded("d", "gate:app", Outcome.SKIPPED, 0.0, "not tried: x failed", "app")) == ""
    assert text(StepEnded("d", "keep:db", Outcome.UNCHANGED, 0.0, "not created", "db")) == "  · db  not created"
    assert text(StepEnded("d", "create:later", Outcome.CHANGED, 1.2, "created app")) == "  ✓ created app  1.2 s"
    then = StepEnded("d", "then:db:1", Outcome.CHANGED, 0.2, "applied x.sql", "db")
    assert text(then) == "  ✓ db  applied x.sql  0.2 s"
    assert text(StepEnded("d", "memory:2", Outcome.FAILED, 0.0, "phase 2 does not fit")) == "  ✗ phase 2 does not fit"
    assert text(Note("d", "careful", "warning")) == "! careful"
    assert text(StepStarted("d", "gate:app", "wait", "app")) == ""


def test_an_interrupt_is_one_line_a_service() -> None:
    kinds = ("memory:app", "start:app", "gate:app", "then:app:1", "create:later")
    ended = [StepEnded("d", kind, Outcome.SKIPPED, 0.0, "not begun: interrupted", "app") for kind in kinds]
    lines = [line.plain for event in ended if (line := line_of(event)) is not None]
    assert lines == ["  – app  not begun: interrupted"]
    awaited = line_of(StepEnded("d", "gate:app", Outcome.SKIPPED, 1.0, "interrupted", "app"))
    assert awaited is not None and awaited.plain == "  – app  waiting for it was interrupted  1.0 s"


def test_plain_lines_tell_the_last_state_seen_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(many=False, redact=masked) as lines:
        lines.emit(StepWaiting("d", "gate:app", "HTTP 503 hunter2222", "app"))
    assert capsys.readouterr().err == "  … app  HTTP 503 •••\n"


def test_a_diagnosis_without_anything_known_is_short() -> None:
    bare = Diagnosis("a", "gone", 0, 0, "", 0, "", (), (), (), None, None, "", "")
    assert [line.plain for line in diagnosis_lines(bare, masked)] == ["a  gone, exit code 0", "  killed for memory no"]


@pytest.mark.parametrize(
    ("up", "outcome", "detail"),
    [
        (("app",), Outcome.CHANGED, "started, its gate was not awaited: interrupted"),
        ((), Outcome.SKIPPED, "its start was cut short, it may come up yet: interrupted"),
    ],
)
def test_a_start_that_was_interrupted_may_have_worked(up: tuple[str, ...], outcome: Outcome, detail: str) -> None:
    planned = plan(facts([compose("app")], [container("app", "exited")]), stack(service("app")), DROPLET, Options())
    said = {"start:app": "interrupted", "gate:app": "not tried: interrupted"}
    steps = tuple(
        StepResult(s.id, s.title, s.action.kind, s.service, 1, Outcome.SKIPPED, detail=said[s.id])
        for s in planned.plan.steps
        if s.id in said
    )
    run = RunResult("r", planned.plan.id, "startup", steps, 1.0, interrupted=2)
    assert cut_short(run) == ("app",)
    (app,) = report(planned.plan, run, up=up)
    assert (app.outcome, app.detail) == (outcome, detail)
