"""`opsctl validate`: the stack file's probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.errors import ErrorInfo, ExitCode, UsageError
from opsctl.model.result import DropletResult
from opsctl.model.units import parse_duration

if TYPE_CHECKING:
    from opsctl.model.probing import Validation


def validate(
    ctx: typer.Context,
    probes: Annotated[list[str] | None, typer.Argument(metavar="[PROBE]…", help="Which; else all.")] = None,
    within: Annotated[
        str, typer.Option("--within", metavar="TIME", help="Ask again that long until all have passed.")
    ] = "0s",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="metrics, traces: only what is newer than this call counts.")
    ] = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Ask the stack file's probes: does it really work?

    Exit 7 when one does not pass.

    A probe is an HTTP call, a command on the droplet, metrics that arrive in
    the cloud, traces that do, or a store's own figures. With --fresh it proves that they arrive
    now: samples and runs from before do not count.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    try:
        seconds = parse_duration(within)
    except ValueError as error:
        raise UsageError(f"--within {within}", why=str(error), next="opsctl validate --within 2m") from None

    def job(session: Session) -> DropletResult[Validation]:
        from opsctl.jobs.validate import Terms, chosen
        from opsctl.jobs.validate import validate as ask

        wanted = chosen(session.stack, probes or [])
        terms = Terms(max(seconds, 90.0 if fresh and within == "0s" else 0.0), fresh)
        found = ask(session.host, session.evidence, session.gauges, wanted, terms, cancel=session.cancel)
        if found.passed:
            return DropletResult(session.droplet.name, found)
        failed = [each.name for each in found.probes if not each.passed]
        error = ErrorInfo(
            "probe-failed",
            f"{len(failed)} of {len(found.probes)} probes did not pass: {', '.join(failed)}",
            next(each.said for each in found.probes if not each.passed),
            f"opsctl validate {' '.join(failed)}",
        )
        return DropletResult(session.droplet.name, found, error, ExitCode.GATE)

    result = context.over(job, reading=True)
    many = len(result.droplets) > 1

    def render(each: DropletResult[Validation]) -> None:
        from opsctl.render.validate import print_validation

        if each.result is not None:
            print_validation(each.name, each.result, many=many)

    raise typer.Exit(finish("validate", result, as_json=as_json, render=render, redact=context.redact))


def register(app: typer.Typer) -> None:
    """Add `validate`."""
    app.command("validate", rich_help_panel=commands.DAILY)(validate)
