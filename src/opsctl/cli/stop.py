"""`opsctl stop`: services, the last phase first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.changing import change
from opsctl.cli.context import Context
from opsctl.cli.options import (
    DropletOption,
    DryRunOption,
    JsonOption,
    ResumeOption,
    StackOption,
    VerboseOption,
    WaitOption,
    YesOption,
)

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.model.result import DropletResult
    from opsctl.model.run import Changed


def stop(
    ctx: typer.Context,
    services: Annotated[list[str] | None, typer.Argument(metavar="[SERVICE]...", help="All without any.")] = None,
    grace: Annotated[
        int | None, typer.Option("--grace", min=0, metavar="SECONDS", help="Before it is killed; else the container's.")
    ] = None,
    yes: YesOption = False,
    wait: WaitOption = None,
    resume: ResumeOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Stop services, the last phase first.

    What depends on another service stops before it. Containers outside the
    stack are not touched. Stopping everything asks first (--yes does not).
    """
    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose, wait=wait, resume=resume)
    if not services and not dry_run:
        names = ", ".join(each.name for each in context.droplets(reading=False))
        context.confirm(f"Stop every service of the stack on {names}?")

    def job(call: Call) -> DropletResult[Changed]:
        from opsctl.jobs.stop import stop as bring_down

        return bring_down(call, tuple(services or ()), grace=grace)

    raise typer.Exit(change(context, "stop", job, as_json=as_json, dry_run=dry_run))


def register(app: typer.Typer) -> None:
    """Add `stop`."""
    app.command("stop", rich_help_panel=commands.DAILY)(stop)
