"""`opsctl playbook`: runbooks as data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import (
    DropletOption,
    DryRunOption,
    JsonOption,
    StackOption,
    VerboseOption,
    WaitOption,
    YesOption,
)
from opsctl.cli.output import finish
from opsctl.model.errors import OpsError, UsageError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsctl.jobs.playbook import Setting
    from opsctl.jobs.playbook_run import Finished
    from opsctl.model.playbook_run import ListedRun, Mode

group = typer.Typer(no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="PLAYBOOK", help="A name of `playbook list`, or a YAML file.")]
RunArgument = Annotated[str | None, typer.Argument(metavar="[RUN]", help="The last one that fits, without.")]
ApproveOption = Annotated[
    list[str] | None,
    typer.Option("--approve", metavar="STEP", help="Say yes to the question of this step; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    help_text = "Runbooks as data: show, simulate, run, go on, take back."
    app.add_typer(group, name="playbook", help=help_text, rich_help_panel=commands.SETUP)


@group.command("list")
def list_(
    ctx: typer.Context,
    runs: Annotated[bool, typer.Option("--runs", help="The runs that the droplet remembers, too.")] = False,
    paths: Annotated[bool, typer.Option("--paths", help="The file of each, too.")] = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Every playbook: in the stack's own `playbooks/`, and those that opsctl ships.

    A file of the stack's own hides a shipped one of the same name. Nothing is
    connected without --runs.
    """
    from opsctl.jobs.playbook_find import listed
    from opsctl.model.playbook_run import PlaybookListing

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    every = listed(_folder(stack))
    if runs:
        result = CommandResult(
            tuple(
                DropletResult(
                    each.name,
                    PlaybookListing(every, each.result or ()) if each.ok else None,
                    each.error,
                    each.exit_code,
                )
                for each in context.over(lambda session: _runs(context, session), reading=True).droplets
            )
        )
    else:
        result = CommandResult((DropletResult("", PlaybookListing(every)),))

    def render(each: DropletResult[PlaybookListing]) -> None:
        from opsctl.render.playbook import print_listing

        assert each.result is not None
        print_listing(each.name, each.result, paths=paths, redact=context.redact)

    raise typer.Exit(finish("playbook.list", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def show(
    ctx: typer.Context,
    playbook: NameArgument,
    as_json: JsonOption = False,
    stack: StackOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """What a playbook does, step by step, and which variables it takes. Checks it; connects to nothing."""
    from opsctl.jobs.playbook_find import read, shown
    from opsctl.model.playbook_run import ShownPlaybook

    context = Context(ctx, stack=stack, verbose=verbose)
    result = CommandResult((DropletResult("", shown(read(playbook, _folder(stack)))),))

    def render(each: DropletResult[ShownPlaybook]) -> None:
        from opsctl.render.playbook import print_playbook

        assert each.result is not None
        print_playbook(each.result)

    raise typer.Exit(finish("playbook.show", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def run(
    ctx: typer.Context,
    playbook: NameArgument,
    var: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable's value; repeatable.")
    ] = None,
    approve: ApproveOption = None,
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Run a playbook from its first step.

    It is checked whole before anything begins. Where it asks a question and
    nobody is there to answer, it stops; `playbook resume` goes on from there,
    on this machine or on another.
    """
    from opsctl.jobs.playbook import given, start
    from opsctl.jobs.playbook_find import read

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)
    folder = _folder(stack)
    book = read(playbook, folder, values=given(read(playbook, folder).variables, tuple(var or ()), playbook))
    code = _over(
        context, "run", context.run_id, tuple(approve or ()), lambda setting: start(setting, book), as_json, dry_run
    )
    raise typer.Exit(code)


@group.command()
def resume(
    ctx: typer.Context,
    run: RunArgument = None,
    approve: ApproveOption = None,
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Go on with a run that waits for a person, failed, or was cut short; anybody can, from anywhere.

    The state of a run is on its droplet. What is done already is looked at
    again, never repeated blindly. The playbook is the one that was begun,
    whatever has become of the file since.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)
    raise typer.Exit(_go_on(context, "resume", run, tuple(approve or ()), as_json=as_json, dry_run=dry_run))


@group.command()
def rollback(
    ctx: typer.Context,
    run: RunArgument = None,
    wait: WaitOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Take back what a run did, the latest step first, each by its own undo.

    Steps that changed nothing are left alone. Asks first (--yes does not).
    """
    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose, wait=wait)
    raise typer.Exit(_go_on(context, "rollback", run, (), as_json=as_json, dry_run=dry_run))


def _go_on(
    context: Context, mode: Mode, wanted: str | None, approve: tuple[str, ...], *, as_json: bool, dry_run: bool
) -> int:
    from opsctl.cli.playbook_setting import places_of
    from opsctl.jobs import playbook as jobs
    from opsctl.jobs.call import STATE_DIR

    with places_of(context, None) as places:
        run, lines = jobs.find(places(""), wanted or "", mode, STATE_DIR)
    if mode == "rollback" and not dry_run:
        name = jobs.recorded(run, lines).name
        context.confirm(f"Take back what the run {run} of {name} did on {context.one().name}?")
    job = jobs.resume if mode == "resume" else jobs.rollback
    return _over(context, mode, run, approve, lambda setting: job(setting, run, lines), as_json, dry_run)


def _over(
    context: Context,
    mode: Mode,
    run: str,
    approve: tuple[str, ...],
    job: Callable[[Setting], Finished],
    as_json: bool,
    dry_run: bool,
) -> int:
    """Do it on the one droplet that this call is about, show it, and say what to exit with."""
    from opsctl.cli.playbook_setting import setting_of
    from opsctl.model.playbook_run import PlaybookReport

    home = context.one()
    try:
        with setting_of(context, run, approve, as_json=as_json, dry_run=dry_run) as setting:
            done = job(setting)
    except UsageError:
        raise
    except OpsError as error:
        failed: DropletResult[PlaybookReport] = DropletResult(home.name, None, error.info, error.exit_code)
        result = CommandResult((failed,))
    else:
        result = CommandResult((DropletResult(home.name, done.report, done.error, done.exit_code),))

    def render(each: DropletResult[PlaybookReport]) -> None:
        from opsctl.render.playbook import print_report

        assert each.result is not None
        print_report(each.result, redact=context.redact)

    return finish(f"playbook.{mode}", result, as_json=as_json, render=render, run_id=run, redact=context.redact)


def _runs(context: Context, session: Session) -> DropletResult[tuple[ListedRun, ...]]:
    from opsctl.cli.playbook_setting import place_of
    from opsctl.jobs import playbook as jobs
    from opsctl.jobs.call import STATE_DIR
    from opsctl.render.progress import Silent

    place = place_of(context, session, Silent())
    return DropletResult(session.droplet.name, jobs.listed(jobs.runs(place, STATE_DIR)))


def _folder(stack: Path | None) -> Path | None:
    """The stack file's folder, where there is one."""
    from opsctl.model.stackfile_load import find_stack

    path = find_stack(stack)
    return path.resolve().parent if path else None
