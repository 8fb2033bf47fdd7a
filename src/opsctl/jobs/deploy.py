"""Bring compose file and configuration to a droplet: recreate what changed, in phases, and keep each release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from opsctl.jobs.call import Call, carry_out
from opsctl.jobs.deploy_options import DeployPlan, Options
from opsctl.jobs.deploy_plan import plan_deploy
from opsctl.jobs.deploy_refuse import (
    moves,
    refuse_checkout,
    refuse_moves,
    refuse_names,
    refuse_project,
    refuse_removed,
    refuse_volumes,
)
from opsctl.jobs.deploy_source import lost_names, told_here
from opsctl.jobs.deploy_steps import DeployOperations
from opsctl.jobs.deploy_tidy import tidied
from opsctl.jobs.deploy_words import goes_back
from opsctl.jobs.startup import check_commands, check_engine, find_sql, merged
from opsctl.jobs.startup_report import report
from opsctl.model.deploy import Deployed, Deployer, Release, Source, Survey
from opsctl.model.errors import ConfigError, ErrorInfo, ExitCode, Interrupted
from opsctl.model.events import Outcome
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed, RunResult

MakeSource = Callable[[tuple[str, ...]], Source]  # from the compose files that are known


def deploy(
    call: Call, source: Source, options: Options, *, rollback_on_failure: bool = False
) -> DropletResult[Deployed]:
    """Bring the droplet to what `source` says. Nothing to do takes no lease and writes nothing."""
    engine = cast(Deployer, call.engine)
    try:
        survey = tidied(engine.survey(source, cancel=call.cancel))
    except ConfigError as error:
        if source.kind == "push" and not options.remove_keys:
            refuse_removed(lost_names(call, source), call.entry.command)
        raise told_here(error, source) from None
    refuse(call, survey, source, options)
    call, left = without_gone(call, survey)
    stack = merged(call, survey.facts)
    made = plan_deploy(
        survey,
        stack,
        call.droplet,
        source,
        options,
        find_sql=lambda name: find_sql(stack, name),
        again=call.entry.command,
    )
    done = execute(call, survey, with_notes(made, left), source)
    if rollback_on_failure and _may_go_back(call, done, survey):
        from opsctl.jobs.rollback import after_failure

        return after_failure(call, done, options)
    return done


def without_gone(call: Call, survey: Survey) -> tuple[Call, tuple[str, ...]]:
    """The call without the stack file's services that leave the compose file now; and what to say about them."""
    had = {*(survey.old_model.get("services") or {}), *(each.service for each in survey.facts.containers)}
    had |= {image.service for release in survey.releases for image in release.images}
    gone = [name for name in call.stack.services if name not in survey.facts.compose and name in had]
    if not gone:
        return call, ()
    kept = {name: each for name, each in call.stack.services.items() if name not in gone}
    note = f"take {', '.join(gone)} out of the stack file, too: startup refuses a name that compose does not have"
    return replace(call, stack=replace(call.stack, services=kept)), (note,)


def with_notes(made: DeployPlan, more: tuple[str, ...]) -> DeployPlan:
    """The plan with more to say."""
    return replace(made, planned=replace(made.planned, notes=(*made.planned.notes, *more)))


def _may_go_back(call: Call, done: DropletResult[Deployed], survey: Survey) -> bool:
    if done.exit_code is ExitCode.DONE or call.dry_run or done.result is None or done.result.changed.run is None:
        return False
    if done.exit_code is ExitCode.UNREACHABLE or done.result.changed.run.interrupted is not None:
        return False
    return touched(done.result.changed.run)


def touched(run: RunResult) -> bool:
    """Whether a run changed files, images or containers, or may have."""
    kinds = ("put", "put-back", "checkout", "retag", "images", "create", "recreate", "start", "stop")
    kept = (Outcome.UNCHANGED, Outcome.SKIPPED)
    return any(step.kind in kinds and step.outcome not in kept for step in run.steps)


def refuse(call: Call, survey: Survey, source: Source, options: Options) -> None:
    """Raise OpsError for what must not be done, before anything is."""
    engine = cast(Deployer, call.engine)
    previous = str(survey.old_model.get("name") or "")
    running = any(each.project == previous for each in survey.facts.containers)
    refuse_names(survey, call.stack, options)
    refuse_project(survey, previous if running else "")
    refuse_checkout(survey, source)
    refuse_volumes(survey)
    if source.kind != "release" and not options.remove_keys and not call.dry_run:
        refuse_removed(survey.files, call.entry.command)
    found = moves(survey, tuple(survey.facts.compose))
    if found:
        places = list(dict.fromkeys(place for move in found for place in (move.old, move.new)))
        answer = call.host.run(engine.emptiness(places), cancel=call.cancel, timeout=30.0)
        state = dict(line.split("\t", 1) for line in answer.text.splitlines() if "\t" in line)
        refuse_moves(found, state, options.data_moved, call.entry.command)


def execute(
    call: Call, survey: Survey, made: DeployPlan, source: Source, release: Release | None = None
) -> DropletResult[Deployed]:
    """Do what was planned, under the lease where anything changes; or only show it."""
    planned, facts = made.planned, survey.facts
    stack = merged(call, facts)
    check_commands(call, planned)
    if planned.changes:
        check_engine(facts.engine, call.droplet.name)
    name = release_id(call.entry.run_id)
    if call.dry_run:
        return _result(call, survey, made, source, None, facts.memory.available, "")
    engine = cast(Deployer, call.engine)
    operations = DeployOperations(call, engine, planned.plan, facts, stack, source, name)
    run = carry_out(call, planned.plan, operations.handlers(), changes=planned.changes)
    lost = run.exit_code is ExitCode.UNREACHABLE
    available = operations.available if lost else operations.available_now(call.host)
    done = {s.kind for s in run.steps if s.outcome is Outcome.CHANGED}
    kept = (release.id if release else name) if done & {"begin", "finish"} else ""
    kept = kept or (operations.kept_before if "adopt" in done else "")
    return _result(call, survey, made, source, run, available, kept)


def release_id(run_id: str) -> str:
    """A release's name: sortable by time, and allowed as the name of a repository."""
    return run_id.lower().replace("t", "-", 1)


def _result(
    call: Call, survey: Survey, made: DeployPlan, source: Source, run: RunResult | None, available: int, release: str
) -> DropletResult[Deployed]:
    changed = Changed(
        dry_run=call.dry_run,
        plan=made.planned.plan.to_json(),
        notes=made.planned.notes,
        services=report(made.planned.plan, run),
        run=run,
        memory_total=survey.facts.memory.total,
        memory_available=available,
    )
    code = run.exit_code if run else ExitCode.DONE
    files = tuple(each for each in survey.files if each.differs)
    deployed = Deployed(_words(source, survey), release, files, made.services, made.orphans, changed)
    adopted = any(step.action.kind == "adopt" for step in made.planned.plan.steps)
    error = error_of(call, run, back=goes_back(survey, source, adopted=adopted))
    return DropletResult(call.droplet.name, deployed, error, code)


def _words(source: Source, survey: Survey) -> str:
    if source.kind == "push" and source.bundle:
        return f"pushed {source.bundle.origin}"
    if source.kind == "ref" and survey.checkout:
        return f"{source.ref} at {survey.checkout.commit[:10]}: {survey.checkout.subject}"
    return f"release {source.release}" if source.kind == "release" else "the files on the droplet"


def error_of(call: Call, run: RunResult | None, *, back: str = "opsctl rollback   # goes back") -> ErrorInfo | None:
    """What to say about a run that failed, with the command that goes on and the one that goes back."""
    if run is None or run.exit_code is ExitCode.DONE:
        return None
    if run.interrupted is not None:
        return Interrupted(
            "interrupted",
            signum=run.interrupted,
            why="what was done so far stays",
            next=f"{call.again}   # goes on\n{back}",
        ).info
    if run.error is None:
        return None
    if "rollback" in run.error.next or not touched(run):
        return run.error
    return replace(run.error, next=f"{run.error.next}\n{back}".strip())


def known_files(call: Call) -> tuple[str, ...]:
    """The compose files of the droplet: named, or as its containers say. () where neither is known."""
    if call.droplet.compose:
        return call.droplet.compose
    try:
        return call.facts().compose_files
    except ConfigError:
        return ()
