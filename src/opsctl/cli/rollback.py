"""`opsctl rollback`: compose file and images of a release, back together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.deploying import go
from opsctl.cli.options import (
    DropletOption,
    DryRunOption,
    JsonOption,
    ResumeOption,
    StackOption,
    VerboseOption,
    WaitOption,
)
from opsctl.cli.releases import show_list

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.model.deploy import Deployed
    from opsctl.model.result import DropletResult


def rollback(
    ctx: typer.Context,
    release: Annotated[
        str, typer.Argument(metavar="[RELEASE]", help="Its id, or the start of it; else the one before.")
    ] = "",
    list_them: Annotated[bool, typer.Option("--list", help="List the releases instead.")] = False,
    with_env: Annotated[bool, typer.Option("--with-env", help="Bring back the env files of then, too.")] = False,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Remove containers of services that it does not have.")
    ] = False,
    data_moved: Annotated[
        list[str] | None,
        typer.Option("--data-moved", metavar="SERVICE", help="You have moved its data back yourself."),
    ] = None,
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Start what does not fit, too.")] = False,
    wait: WaitOption = None,
    resume: ResumeOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Bring back a release: its compose file, its configuration and its images together.

    Without a name, the one before; after a deploy that failed, the one that
    was in force. Today's env files stay unless --with-env. Health is proved
    by the same gates as in a deploy.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait, resume=resume)
    if list_them:
        raise typer.Exit(show_list(context, as_json=as_json))

    def job(call: Call) -> DropletResult[Deployed]:
        from opsctl.jobs.deploy_options import Options
        from opsctl.jobs.rollback import rollback as bring_back

        options = Options(
            remove_orphans=remove_orphans, ignore_memory=ignore_memory, data_moved=tuple(data_moved or ())
        )
        return bring_back(call, release, options, with_env=with_env)

    raise typer.Exit(go(context, "rollback", job, as_json=as_json, dry_run=dry_run))


def register(app: typer.Typer) -> None:
    """Add `rollback`."""
    app.command("rollback", rich_help_panel=commands.BROKE)(rollback)
