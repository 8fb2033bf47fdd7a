"""`opsctl status`: what runs, what does not, and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.errors import ExitCode
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.model.status import Status


def status(
    ctx: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 7 when something that should be healthy is not.")
    ] = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """What runs, what does not, and since when.

    What should run: every service, if not optional, of the phases of which
    something runs, and what a deploy that is not finished was to bring up.
    Reading is a success in any state (exit 0); with --check the exit code
    says what the last line says.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def job(session: Session) -> DropletResult[Status]:
        from opsctl.jobs.status_read import read

        found = read(session.engine, session.reads, session.stack, session.droplet, cancel=session.cancel)
        if found.result is None:
            return found
        problems = (replace(each, next=context.about(each.next, found.name)) for each in found.result.problems)
        return replace(found, result=replace(found.result, problems=tuple(problems)))

    def render(each: DropletResult[Status]) -> None:
        from opsctl.render.status import print_status

        if each.result is not None:
            print_status(each.name, each.result, about=lambda following: context.about(following, each.name))

    result = context.over(job, reading=True)
    if check:
        result = CommandResult(tuple(_checked(each) for each in result.droplets))
    raise typer.Exit(finish("status", result, as_json=as_json, render=render, redact=context.redact))


def _checked(each: DropletResult[Status]) -> DropletResult[Status]:
    if each.result is None or each.result.healthy or not each.ok:
        return each
    return DropletResult(each.name, each.result, each.error, ExitCode.GATE)


def register(app: typer.Typer) -> None:
    """Add `status`."""
    app.command("status", rich_help_panel=commands.DAILY)(status)
