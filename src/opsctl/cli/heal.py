"""`opsctl heal`: start again what crashed or is unhealthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from opsctl.cli import commands
from opsctl.cli.changing import FailurePolicy, change
from opsctl.cli.context import Context
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption, WaitOption

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.model.result import DropletResult
    from opsctl.model.run import Changed


def heal(
    ctx: typer.Context,
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Start again what crashed or is unhealthy.

    Only if it fits. It is what `cron install` runs every two minutes.

    With memory gate and health gate as at a startup; at most 5 times an hour
    a service, 1, 2, 4 and 8 minutes apart. What was stopped on purpose stays
    down. While `recover` works on the droplet, heal stands aside.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)

    def job(call: Call) -> DropletResult[Changed]:
        from opsctl.jobs.heal import heal as bring_back

        return bring_back(call)

    raise typer.Exit(change(context, "heal", job, as_json=as_json, dry_run=dry_run, on_failure=FailurePolicy.keep))


def register(app: typer.Typer) -> None:
    """Add `heal`."""
    app.command("heal", rich_help_panel=commands.BROKE)(heal)
