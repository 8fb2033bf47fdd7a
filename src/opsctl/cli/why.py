"""`opsctl why`: what died, who was killed, who is to blame, and what to type next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.result import CommandResult, DropletResult

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

        found = ask(
            session.reads,
            session.why,
            session.stack,
            session.droplet,
            service=service,
            engine=session.engine,
            cancel=session.cancel,
        )
        return DropletResult(session.droplet.name, found)

    def render(each: DropletResult[Why]) -> None:
        from opsctl.render.why import print_why

        if each.result is not None:
            print_why(each.name, each.result, redact=context.redact)

    result = context.over(job, reading=True)
    flag = len(result.droplets) > 1
    result = CommandResult(tuple(_away(each, f" -d {each.name}" if flag else "") for each in result.droplets))
    raise typer.Exit(finish("why", result, as_json=as_json, render=render, redact=context.redact))


def _away(each: DropletResult[Why], flag: str) -> DropletResult[Why]:
    """A droplet that says nothing: no look from here tells more, but there is a way to bring it back."""
    from opsctl.jobs.recover import AWAY

    if each.error is None or each.error.code not in AWAY:
        return each
    why = f"{each.error.why}; what its kernel said can be read once it is back".lstrip("; ")
    return replace(each, error=replace(each.error, why=why, next=f"opsctl recover{flag}"))


def register(app: typer.Typer) -> None:
    """Add `why`."""
    app.command("why", rich_help_panel=commands.BROKE)(why)
