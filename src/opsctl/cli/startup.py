"""`opsctl startup`: services in phases, each gated on health and memory."""

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


def startup(
    ctx: typer.Context,
    phase: Annotated[int | None, typer.Option("--phase", min=1, help="Up to this phase; all of them without.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="SERVICE", help="This service and nothing else; repeatable.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="SERVICE", help="All but this one; repeatable.")
    ] = None,
    on_failure: OnFailureOption = FailurePolicy.stop,
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Start what does not fit, too.")] = False,
    settle: Annotated[
        str, typer.Option("--settle", metavar="TIME", help="Watch that long at the end that nothing falls over.")
    ] = "0s",
    wait: WaitOption = None,
    resume: ResumeOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Start services in phases, each gated on health and memory.

    Phases are cumulative: --phase 2 brings up phases 1 and 2. What is healthy
    already stays as it is; nothing is ever recreated, built or pulled. A
    service that does not pass its gate is stopped (--on-failure stop), left
    as it is (keep), or everything this run started is taken back (rollback).
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait, resume=resume)
    seconds = _seconds(settle)

    def job(call: Call) -> DropletResult[Changed]:
        from opsctl.jobs.startup import startup as bring_up
        from opsctl.jobs.startup_select import Options

        return bring_up(call, Options(phase, tuple(only or ()), tuple(skip or ()), ignore_memory, seconds))

    raise typer.Exit(change(context, "startup", job, as_json=as_json, dry_run=dry_run, on_failure=on_failure))


def _seconds(text: str) -> float:
    from opsctl.model.errors import UsageError
    from opsctl.model.units import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise UsageError(f"--settle: {error}", next="opsctl startup --settle 10s") from None


def register(app: typer.Typer) -> None:
    """Add `startup`."""
    app.command("startup", rich_help_panel=commands.DAILY)(startup)
