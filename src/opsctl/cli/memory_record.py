"""`opsctl memory record`: keeps what services use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption

if TYPE_CHECKING:
    from opsctl.cli.context import Session
    from opsctl.jobs.cron_memory import Recorded
    from opsctl.model.result import DropletResult


def record(
    ctx: typer.Context,
    stack: StackOption = None,
    droplet: DropletOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Keep what each service uses now: one line in the droplet's history. What `cron install` runs."""
    from opsctl.cli.context import Context
    from opsctl.cli.output import finish

    context = Context(ctx, stack=stack, droplets=droplet, verbose=verbose)

    def one(session: Session) -> DropletResult[Recorded]:
        from opsctl.jobs.cron_memory import record as keep
        from opsctl.model.result import DropletResult

        name = session.droplet.name
        return DropletResult(name, keep(session.host, session.memory, name, cancel=session.cancel))

    def render(each: DropletResult[Recorded]) -> None:
        from opsctl.model.units import show_size

        if (seen := each.result) is not None:
            free = f"{show_size(seen.available)} of {show_size(seen.total)} available"
            typer.echo(f"{each.name}  {seen.at}  {len(seen.services)} services, {free}; kept in {seen.file}")

    result = context.over(one, reading=False)
    raise typer.Exit(int(finish("memory.record", result, as_json=as_json, render=render, redact=context.redact)))
