"""`opsctl releases list`: what a rollback can go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.deploying import run
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.model.errors import ExitCode

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.model.deploy import Releases
    from opsctl.model.result import DropletResult


def show_list(context: Context, *, as_json: bool) -> ExitCode:
    """List the releases of every droplet of this call."""
    many = len(context.droplets(reading=True)) > 1

    def job(call: Call) -> DropletResult[Releases]:
        from opsctl.jobs.releases import releases

        return releases(call)

    def render(each: DropletResult[Releases]) -> None:
        from opsctl.render.deploy import print_releases

        if each.result is not None:
            print_releases(each.name, each.result, redact=context.redact, many=many)

    return run(context, "releases.list", job, render, as_json=as_json, reading=True)


def list_releases(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """List the releases that the droplet keeps, the newest first.

    The one marked with * is in force. Each holds compose file, configuration,
    env files and the images' ids; the images are kept by tags of opsctl's own.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    raise typer.Exit(show_list(context, as_json=as_json))


def register(app: typer.Typer) -> None:
    """Add `releases`."""
    group = typer.Typer(no_args_is_help=True)
    group.command("list")(list_releases)
    app.add_typer(group, name="releases", help="What a rollback can go back to.", rich_help_panel=commands.SETUP)
