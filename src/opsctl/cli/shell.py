"""`opsctl shell`: a shell inside a service's container."""

from __future__ import annotations

import sys

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.exec import ServiceArgument, UserOption
from opsctl.cli.options import DropletOption, StackOption, VerboseOption


def shell(
    ctx: typer.Context,
    service: ServiceArgument,
    user: UserOption = None,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Open a shell inside a service's container.

    bash where the container has one, else sh; the exit status is its own.
    """
    from opsctl.jobs.containers import read, running
    from opsctl.jobs.exec import shell_argv

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    with context.session(context.one()) as session:
        found = running(read(session.reads, session.stack, session.droplet, cancel=session.cancel).named(service)[0])
        tty = sys.stdin.isatty() and sys.stdout.isatty()
        argv = shell_argv(found, session.droplet, tty=tty, user=user)
        status = session.host.interactive(argv, tty=tty, cancel=session.cancel)
    raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Add `shell`."""
    app.command("shell", rich_help_panel=commands.DAILY)(shell)
