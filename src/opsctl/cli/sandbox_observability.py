"""`opsctl sandbox observability`: a cloud that the sandbox's metrics and traces go to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from opsctl.cli.options import JsonOption
from opsctl.cli.output import finish
from opsctl.cli.process import Process
from opsctl.model.errors import UsageError
from opsctl.model.result import CommandResult, DropletResult
from opsctl.sandbox import fleet
from opsctl.sandbox.observability import FEEDS


@dataclass(frozen=True)
class Received:
    """Where a sandbox's metrics and traces arrive; "" for both when it is off."""

    metrics: str
    traces: str
    feed: str
    stack_file: str


def register(app: typer.Typer, chosen: Callable[[str | None], str], progress: Callable[[str], None]) -> None:
    """Add the command to the group. `chosen` finds the sandbox that a call without --name is about."""

    @app.command()
    def observability(
        ctx: typer.Context,
        switch: Annotated[str, typer.Argument(metavar="on|off", help="Start it, or end it with all it received.")],
        name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Which sandbox.")] = None,
        feed: Annotated[
            str, typer.Option("--feed", metavar="SOURCE", help="What alloy sends: agents, or prometheus.")
        ] = "agents",
        as_json: JsonOption = False,
    ) -> int:
        """Give a sandbox a cloud: a Prometheus that receives metrics, and LangSmith's API for traces.

        The stack gets a service `alloy` that sends the metrics, its
        orchestrator sends traces, and the stack file gets probes that ask
        whether they arrive. With --feed prometheus alloy takes the metrics
        from the droplet's own Prometheus: they end with it.
        """
        process: Process = ctx.obj
        if switch not in ("on", "off") or feed not in FEEDS:
            raise UsageError(
                f"observability {switch} --feed {feed}",
                why=f"it is on or off, and the feed is {' or '.join(FEEDS)}",
                next="opsctl sandbox observability on",
            )
        sandbox = chosen(name)
        if switch == "on":
            there, receiver = fleet.observe(sandbox, feed, progress, process.cancel)
            way = "http://127.0.0.1:{}"
            urls = way.format(receiver.metrics), way.format(receiver.traces)
            received = Received(*urls, receiver.feed, str(there.stack_file))
        else:
            fleet.observe_no_more(sandbox, progress, process.cancel)
            received = Received("", "", "", str(fleet.get(sandbox).stack_file))
        result = CommandResult((DropletResult(sandbox, received),))
        return finish("sandbox.observability", result, as_json=as_json, render=_render)


def _render(shown: DropletResult[Received]) -> None:
    found = shown.result
    if found is None or not found.metrics:
        typer.echo(f"✓ {shown.name}  its metrics and traces go nowhere")
        return
    typer.echo(f"✓ {shown.name}  metrics and traces go to a cloud of its own (alloy feeds from {found.feed})")
    typer.echo(f"  metrics  {found.metrics}   (Prometheus' query API)")
    typer.echo(f"  traces   {found.traces}   (LangSmith's)")
    typer.echo("  next     opsctl startup   (then: opsctl validate)")
