"""`opsctl config`: what the configuration says, and where each value comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption

_HELP = "What the configuration says, and where each value comes from."
OfflineOption = Annotated[bool, typer.Option("--offline", help="Only what the stack file says; nothing is connected.")]


def show(
    ctx: typer.Context,
    offline: OfflineOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Every value in force, with the file and line it comes from.

    Sources: stack file, x-opsctl in the compose file, depends_on, what was found on the droplet, defaults.

    Secrets are never shown, and no secret manager is asked.
    """
    from opsctl.cli.output import finish
    from opsctl.jobs import config as job
    from opsctl.jobs.fleet import run_fleet
    from opsctl.model.result import DropletResult
    from opsctl.render.config import print_config

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(session: Session) -> DropletResult[job.ConfigReport]:
        return job.show(session.engine, session.stack, session.droplet, cancel=session.cancel)

    if offline:
        chosen = context.droplets(reading=True)
        result = run_fleet(chosen, lambda each: job.show(None, context.stack, each, cancel=context.cancel))
    else:
        result = context.over(one, reading=True)

    def render(each: DropletResult[job.ConfigReport]) -> None:
        if each.result is not None:
            print_config(each.result, droplet=each.name, several=len(result.droplets) > 1)

    raise typer.Exit(finish("config.show", result, as_json=as_json, render=render, redact=context.redact))


def register(app: typer.Typer) -> None:
    """Add the group `config`."""
    group = typer.Typer(no_args_is_help=True)
    group.command("show")(show)
    app.add_typer(group, name="config", help=_HELP, rich_help_panel=commands.SETUP)
