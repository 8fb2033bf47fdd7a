"""`opsctl migrate`: data from one store to another, verified before anything is deleted."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands, migrating_kept, migrating_prune
from opsctl.cli import migrating_away as away
from opsctl.cli.context import Context
from opsctl.cli.migrating_again import again, pace_of
from opsctl.cli.migrating_kept import OnOption, RunArgument
from opsctl.cli.migrating_options import RateOption, WindowOption
from opsctl.cli.migration_kinds import MIGRATIONS
from opsctl.cli.options import DryRunOption, JsonOption, StackOption, VerboseOption, YesOption
from opsctl.cli.output import finish as leave
from opsctl.cli.process import GoingOn
from opsctl.model.errors import ExitCode, OpsError, UsageError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.model.migrate import Receipt

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the app, with every migration in it."""
    help_text = "Data from one store to another, verified before anything is deleted."
    for each in MIGRATIONS:
        importlib.import_module(f"opsctl.cli.{each.module}").register(group)
    migrating_kept.register(group)
    migrating_prune.register(group)
    app.add_typer(group, name="migrate", help=help_text, rich_help_panel=commands.DATA)


@group.command("list")
def list_(ctx: typer.Context, as_json: JsonOption = False, verbose: VerboseOption = 0) -> None:
    """Every migration there is, and the runs that this machine knows."""
    from opsctl.jobs.migration_runs import listed
    from opsctl.model.migrate_shown import MigrationKind, MigrationListing

    context = Context(ctx, verbose=verbose)
    kinds = tuple(MigrationKind(each.name, each.source, each.sink, each.help) for each in MIGRATIONS)
    result = CommandResult((DropletResult("", MigrationListing(kinds, listed(20))),))

    def render(each: DropletResult[MigrationListing]) -> None:
        from opsctl.render.migrate_runs import print_listing

        assert each.result is not None
        print_listing(each.result)

    raise typer.Exit(leave("migrate.list", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def status(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run; else all of them.")] = None,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """How far a run is, or how it ended, and what to type next. All runs without one."""
    from opsctl.jobs.migration_runs import listed, shown
    from opsctl.model.migrate_shown import RunListing
    from opsctl.spine.run_folder import find

    context = _context(ctx, stack, droplet, verbose=verbose)
    if droplet is not None:
        raise typer.Exit(away.runs(context, run, as_json=as_json, name="migrate.status"))
    runs = (shown(find(run)),) if run is not None else listed(50)
    result = CommandResult((DropletResult("", RunListing(runs)),))

    def render(_: DropletResult[RunListing]) -> None:
        from opsctl.render.migrate_runs import print_run, print_runs

        if run is None:
            print_runs(runs)
        else:
            print_run(runs[0], redact=context.redact)

    raise typer.Exit(leave("migrate.status", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def attach(
    ctx: typer.Context,
    run: RunArgument,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Watch a run until it ends, and exit as it did. Ctrl-C leaves it running."""
    from opsctl.jobs.migration_runs import exit_code, follow, shown
    from opsctl.model.migrate_shown import RunListing
    from opsctl.render.migrate_progress import progress
    from opsctl.spine.run_folder import find

    context = _context(ctx, stack, droplet, verbose=verbose)
    if droplet is not None:
        raise typer.Exit(away.attach(context, run, as_json=as_json))
    folder = find(run)
    with progress(shown(folder).action, as_json=as_json, redact=context.redact) as moving:
        ended = follow(folder, moving.report, cancel=context.cancel)
    code = exit_code(ended)
    result = CommandResult((DropletResult("", RunListing((ended,)), None, code),))

    def render(_: DropletResult[RunListing]) -> None:
        from opsctl.render.migrate_runs import print_run

        print_run(ended, redact=context.redact)

    raise typer.Exit(leave("migrate.attach", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def pause(
    ctx: typer.Context,
    run: RunArgument,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Let a run finish its batches and wait; `migrate resume RUN` lets it go on."""
    context = _context(ctx, stack, droplet, verbose=verbose)
    if droplet is not None:
        raise typer.Exit(away.told(context, run, as_json=as_json))
    raise typer.Exit(_told(context, run, as_json=as_json))


@group.command()
def resume(
    ctx: typer.Context,
    run: RunArgument,
    rate: RateOption = None,
    window: WindowOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Go on with a run that is paused, was stopped, was killed, or failed.

    It goes on with what was cut short (the copy, `finish`, `rollback`), as it
    was begun; what is verified already is not written again. --rate and
    --window replace those it was begun with.
    """
    from opsctl.jobs.migration_runs import CUT_SHORT, WORKING, shown
    from opsctl.spine.run_folder import find

    pace = pace_of(rate, window)
    context = _context(ctx, stack, droplet, yes=yes, verbose=verbose)
    if droplet is not None:
        raise typer.Exit(away.again(context, "resume", run, as_json=as_json, more=pace))
    now = shown(find(run))
    if now.state in WORKING and pace:
        raise UsageError(
            f"{now.run_id} works still, at its own pace",
            next=f"stop it first, with Ctrl-C where it runs; then {context.command_line}",
        )
    if now.state in WORKING:
        raise typer.Exit(_told(context, run, as_json=as_json, word="run"))
    action = now.action if now.state in CUT_SHORT else "run"
    again(ctx, run, GoingOn("", action, yes, as_json, verbose), pace)


@group.command("finish")
def finish_(
    ctx: typer.Context,
    run: RunArgument,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Delete at the source what is verified, if it is unchanged since it was read.

    Every record is read back from where it went once more before it is
    deleted. What has changed stays; the next run copies it again.
    """
    if droplet is not None:
        context = _context(ctx, stack, droplet, yes=yes, verbose=verbose)
        raise typer.Exit(away.again(context, "finish", run, as_json=as_json, dry_run=dry_run))
    again(ctx, run, GoingOn("", "finish", yes, as_json, verbose, dry_run))


@group.command()
def rollback(
    ctx: typer.Context,
    run: RunArgument,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Put the source back from the export, and take back what the run wrote.

    Only what is missing is restored, and only what is still as it was written
    is taken back: what somebody else has put there since is left alone.
    """
    if droplet is not None:
        context = _context(ctx, stack, droplet, yes=yes, verbose=verbose)
        raise typer.Exit(away.again(context, "rollback", run, as_json=as_json, dry_run=dry_run))
    again(ctx, run, GoingOn("", "rollback", yes, as_json, verbose, dry_run))


@group.command()
def replay(
    ctx: typer.Context,
    run: RunArgument,
    yes: YesOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Try the records in quarantine once more."""
    if droplet is not None:
        context = _context(ctx, stack, droplet, yes=yes, verbose=verbose)
        raise typer.Exit(away.again(context, "replay", run, as_json=as_json))
    again(ctx, run, GoingOn("", "replay", yes, as_json, verbose))


@group.command()
def receipt(
    ctx: typer.Context,
    run: RunArgument,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """What a run proved: counts, and a checksum of what was to be there and of what is."""
    from opsctl.jobs.migration_runs import shown
    from opsctl.spine.run_folder import find

    context = _context(ctx, stack, droplet, verbose=verbose)
    now = away.found(context, run) if droplet is not None else shown(find(run))
    found = now.receipt
    if found is None:
        there = f" -d {droplet}" if droplet else ""
        raise OpsError(
            f"{run} has no receipt", why="it has not come to an end yet", next=f"opsctl migrate status {run}{there}"
        )
    result = CommandResult((DropletResult("", found),))

    def render(_: DropletResult[Receipt]) -> None:
        from opsctl.render.migrate import print_next, print_receipt

        print_receipt(found, redact=context.redact)
        print_next(now.next, redact=context.redact)

    raise typer.Exit(leave("migrate.receipt", result, as_json=as_json, render=render, redact=context.redact))


def _context(
    ctx: typer.Context, stack: Path | None, droplet: str | None, *, yes: bool = False, verbose: int = 0
) -> Context:
    return Context(ctx, stack=stack, droplets=[droplet] if droplet else None, yes=yes, verbose=verbose)


def _told(context: Context, run: str, *, as_json: bool, word: str = "pause") -> ExitCode:
    from opsctl.jobs.migration_runs import control
    from opsctl.model.migrate_shown import RunControlled
    from opsctl.spine.run_folder import find

    done = control(find(run), "pause" if word == "pause" else "run")

    def render(_: DropletResult[RunControlled]) -> None:
        from opsctl.render.migrate_runs import print_controlled

        print_controlled(done)

    name = "migrate.pause" if word == "pause" else "migrate.resume"
    return leave(name, CommandResult((DropletResult("", done),)), as_json=as_json, render=render, redact=context.redact)
