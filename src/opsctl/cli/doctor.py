"""`opsctl doctor`: can opsctl work here?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.errors import ConfigError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.model.examination import Check, Examination


def doctor(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Can opsctl work here? Each check with what mends it.

    This machine, the connection, the droplet, Docker, the stack, and each
    gate asked once. Changes nothing. Warnings leave the exit code at 0; a
    failed check makes it 4 (unreachable), 3 (configuration) or 7 (a probe).
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    result = _examine(context)
    raise typer.Exit(finish("doctor", result, as_json=as_json, render=_render, redact=context.redact))


def _examine(context: Context) -> CommandResult[Examination]:
    from opsctl.jobs import doctor as job
    from opsctl.model.examination import Examination

    try:
        known = context.stack
    except ConfigError as problem:
        found = Examination(job.laptop(None, problem))
        return CommandResult((DropletResult("no droplet", found, None, found.exit_code),))
    here: tuple[Check, ...] = job.laptop(known, None)

    def one(session: Session) -> DropletResult[Examination]:
        return job.examine(
            session.host,
            session.reads,
            session.engine,
            session.stack,
            session.droplet,
            here=here,
            cancel=session.cancel,
        )

    return context.over(one, reading=True)


def _render(each: DropletResult[Examination]) -> None:
    from opsctl.render.doctor import print_examination

    if each.result is not None:
        print_examination(each.name, each.result.checks)


def register(app: typer.Typer) -> None:
    """Add `doctor`."""
    app.command("doctor", rich_help_panel=commands.BROKE)(doctor)
