"""`opsctl audit`: who did what to a droplet, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.audit import AuditReport
from opsctl.model.errors import ExitCode
from opsctl.model.result import CommandResult, DropletResult


def audit(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Not older than 2d, 90m, or 2026-11-20T18:00 (UTC).")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, metavar="N", help="The last N runs of a droplet; 0 for all.")
    ] = 20,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="One run (the beginning of its id will do), with its steps."),
    ] = None,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Who did what to a droplet, and how it ended.

    The droplet keeps the audit; what was done from here while it was away
    (through the provider's API) is kept here and shown with it. A run that
    never said how it ended is shown as abandoned.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    from opsctl.jobs.audit import Wanted
    from opsctl.jobs.audit import since as moment

    wanted = Wanted(moment(since) if since else "", limit, run or "")

    def one(session: Session) -> DropletResult[AuditReport]:
        from opsctl.jobs.audit import audit as read
        from opsctl.jobs.call import STATE_DIR

        name = session.droplet.name
        return read(session.reads, name, wanted, state_dir=STATE_DIR, cancel=session.cancel)

    result: CommandResult[AuditReport] = context.over(one, reading=True)
    many = len(result.droplets) > 1

    def render(each: DropletResult[AuditReport]) -> None:
        from opsctl.render.audit import print_audit

        if each.result is not None and (each.result.runs or each.exit_code is ExitCode.DONE):
            print_audit(each.name, each.result, one=bool(wanted.run), many=many, redact=context.redact)

    raise typer.Exit(finish("audit", result, as_json=as_json, render=render, redact=context.redact))


def register(app: typer.Typer) -> None:
    """Add `audit`."""
    app.command("audit", rich_help_panel=commands.DAILY)(audit)
