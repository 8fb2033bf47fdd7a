"""`opsctl why`: what died, who was killed, who is to blame, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.result import DropletResult

if TYPE_CHECKING:
    from opsctl.model.why import Why


def why(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(metavar="[SERVICE]", help="This service alone.", show_default=False)] = "",
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """What died, who was killed for it, and what to type next.

    Reads the kernel's log of this boot and the one before, Docker's exit
    codes, restarts and health checks, last log lines, disk and memory, all at
    once. Takes no lease and changes nothing. Sentences can be pasted as they
    are. Reading is a success whatever was found (exit 0).
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def job(session: Session) -> DropletResult[Why]:
        from opsctl.jobs.why import why as ask

        found = ask(session.reads, session.why, session.stack, session.droplet, service=service, cancel=session.cancel)
        return DropletResult(session.droplet.name, found)

    def render(each: DropletResult[Why]) -> None:
        from opsctl.render.why import print_why

        if each.result is not None:
            print_why(each.name, each.result, redact=context.redact)

    result = context.over(job, reading=True)
    raise typer.Exit(finish("why", result, as_json=as_json, render=render, redact=context.redact))


def register(app: typer.Typer) -> None:
    """Add `why`."""
    app.command("why", rich_help_panel=commands.BROKE)(why)
