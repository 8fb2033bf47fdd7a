"""`opsctl exec`: a command inside a service's container."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.options import DropletOption, StackOption, VerboseOption

ServiceArgument = Annotated[str, typer.Argument(metavar="SERVICE", help="A service, or a container's name.")]
UserOption = Annotated[str | None, typer.Option("--user", "-u", metavar="USER", help="Run as this user there.")]


def run_command(
    ctx: typer.Context,
    service: ServiceArgument,
    command: Annotated[list[str] | None, typer.Argument(metavar="CMD", help="What to run, after --.")] = None,
    user: UserOption = None,
    workdir: Annotated[str | None, typer.Option("--workdir", "-w", metavar="DIR", help="Start in this folder.")] = None,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Run a command inside a service's container.

    stdin is passed on, a terminal too, and the exit status is the command's
    own: echo SELECT 1 | opsctl exec postgres -- psql -U devtools
    """
    from opsctl.jobs import exec as job
    from opsctl.jobs.containers import read, running

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    with context.session(context.one()) as session:
        found = running(read(session.reads, session.stack, session.droplet, cancel=session.cancel).named(service)[0])
        tty = sys.stdin.isatty() and sys.stdout.isatty()
        status = job.run(
            session.host,
            found,
            command or (),
            session.droplet,
            tty=tty,
            user=user,
            workdir=workdir,
            cancel=session.cancel,
        )
    raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Add `exec`."""
    app.command("exec", rich_help_panel=commands.DAILY)(run_command)
