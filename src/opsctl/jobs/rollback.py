"""Bring compose and images of a release back together, and prove that it works."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from opsctl.jobs.call import Call
from opsctl.jobs.deploy import execute, refuse, with_notes, without_gone
from opsctl.jobs.deploy_options import Options
from opsctl.jobs.deploy_plan import plan_deploy
from opsctl.jobs.deploy_tidy import tidied
from opsctl.jobs.deploy_words import env_stays
from opsctl.jobs.releases import read_releases
from opsctl.jobs.startup import find_sql, merged
from opsctl.model.deploy import Deployed, Deployer, FileKind, Release, Source
from opsctl.model.errors import OpsError, UsageError
from opsctl.model.result import DropletResult


def rollback(call: Call, wanted: str, options: Options, *, with_env: bool = False) -> DropletResult[Deployed]:
    """Go back to a release ("" is the one before): its files, its images; today's env files stay.

    Raises UsageError for a release that is not there.
    """
    engine = cast(Deployer, call.engine)
    release = choose(read_releases(call), wanted)
    kinds: tuple[FileKind, ...] = ("compose", "config", "env") if with_env else ("compose", "config")
    git = release.git
    source = Source(
        "release", git.get("top", ""), ref=git.get("commit", ""), release=release.id, fetch=False, kinds=kinds
    )
    survey = tidied(engine.survey(source, cancel=call.cancel))
    refuse(call, survey, source, options)
    # The survey's own look at it knows whether its files have been changed since.
    release = next(each for each in survey.releases if each.id == release.id)
    call, left = without_gone(call, survey)
    stack = merged(call, survey.facts)
    made = plan_deploy(
        survey,
        stack,
        call.droplet,
        source,
        options,
        command="rollback",
        release=release,
        find_sql=lambda name: find_sql(stack, name),
    )
    return execute(call, survey, with_notes(made, (*left, *env_stays(survey))), source, release)


def choose(releases: tuple[Release, ...], wanted: str) -> Release:
    """The release that is meant: by its id or the start of it, else the one before. Raises UsageError."""
    done = [each for each in releases if each.status == "done"]
    if not done:
        raise UsageError(
            "no release is kept on this droplet", why="a deploy keeps the first ones", next="opsctl deploy --dry-run"
        )
    if wanted:
        found = [each for each in done if each.id == wanted] or [each for each in done if each.id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(each.id for each in (found or done))
        raise UsageError(
            f"{wanted} names {'several releases' if found else 'no release of this droplet'}",
            why=names if found else f"it has {names}; older ones, and what did not come to its end, are dropped",
            next="opsctl releases list",
        )
    begun = [each for each in done if each.back]
    if begun:  # a rollback that was cut short goes on
        return begun[0]
    position = next((number for number, each in enumerate(done) if each.current), -1)
    newest = releases[0]
    # A deploy that did not come to its end is the state to go back from, and so is a file changed since.
    if position >= 0 and (newest.status == "begun" or done[position].moved):
        return done[position]
    if position + 1 < len(done):
        return done[position + 1]
    newer = done[position - 1].id if position > 0 else ""
    raise UsageError(
        f"there is no release before {done[position].id}",
        why=f"it is the oldest that is kept, and in force; the next newer one is {newer}"
        if newer
        else "it is the only one that is kept",
        next=f"opsctl rollback {newer}   # forward again" if newer else "opsctl releases list",
    )


def after_failure(call: Call, failed: DropletResult[Deployed], options: Options) -> DropletResult[Deployed]:
    """Go back because a deploy failed; both are in the result, whose code stays the failure's."""
    assert failed.result is not None and failed.error is not None
    entry = replace(call.entry, run_id=f"{call.entry.run_id}-back", command=f"{call.entry.command}   (rolling back)")
    try:
        back = rollback(replace(call, entry=entry), "", replace(options, pull=False, build=False, remove_orphans=False))
    except OpsError as error:
        info = replace(
            failed.error, why=f"{failed.error.why}; rolling back failed too: {error.info.what}", next=error.info.next
        )
        return replace(failed, error=info)
    said = f"rolled back to {back.result.release}" if back.error is None and back.result else "rolling back failed too"
    if back.error is not None:
        said += f": {back.error.what}"
    info = replace(failed.error, what=f"{failed.error.what}; {said}", next=_after(call, failed))
    return replace(failed, result=replace(failed.result, rolled_back=back.result), error=info)


def _after(call: Call, failed: DropletResult[Deployed]) -> str:
    """What to type after a deploy that went back by itself: look at what failed, and deploy again."""
    run = failed.result.changed.run if failed.result else None
    services = dict.fromkeys(step.service for step in run.steps if step.error and step.service) if run else {}
    return "\n".join([*(f"opsctl logs {name}" for name in services), call.entry.command])
