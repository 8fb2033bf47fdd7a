"""`opsctl restart`: stop and start one service, and prove that it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.changing import FailurePolicy, OnFailureOption, change
from opsctl.cli.context import Context
from opsctl.cli.options import (
    DropletOption,
    DryRunOption,
    JsonOption,
    ResumeOption,
    StackOption,
    VerboseOption,
    WaitOption,
)

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.model.result import DropletResult
    from opsctl.model.run import Changed


def restart(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="A service of the stack.")],
    on_failure: OnFailureOption = FailurePolicy.keep,
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Start it even if it does not fit.")] = False,
    wait: WaitOption = None,
    resume: ResumeOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Stop and start one service, and prove that it is back.

    The container stays the same: changes of the compose file need a deploy.
    A service that is not running is started.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait, resume=resume)

    def job(call: Call) -> DropletResult[Changed]:
        from opsctl.jobs.restart import restart as bring_back

        return bring_back(call, service, ignore_memory=ignore_memory)

    raise typer.Exit(change(context, "restart", job, as_json=as_json, dry_run=dry_run, on_failure=on_failure))


def register(app: typer.Typer) -> None:
    """Add `restart`."""
    app.command("restart", rich_help_panel=commands.DAILY)(restart)
