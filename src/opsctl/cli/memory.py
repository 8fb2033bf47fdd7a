"""opsctl memory: where the memory goes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import memory_record, options
from opsctl.cli.commands import DAILY

if TYPE_CHECKING:
    from opsctl.cli.context import Session
    from opsctl.model.memory import MemoryReport
    from opsctl.model.result import DropletResult

group = typer.Typer(no_args_is_help=True)


class Format(StrEnum):
    """How the report is written to stdout."""

    TABLE = "table"
    TEXT = "text"


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    app.add_typer(group, name="memory", help="Where the memory goes.", rich_help_panel=DAILY)


@group.callback()
def _group() -> None:
    """Where the memory goes."""


group.command()(memory_record.record)


@group.command()
def report(
    ctx: typer.Context,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained HTML file instead.")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="table, or text of 40 columns for a chat message.")
    ] = Format.TABLE,
    disk_wait: Annotated[
        float, typer.Option("--disk-wait", metavar="SECONDS", min=0.1, help="How long the engine may count its disk.")
    ] = 0.8,
    stack: options.StackOption = None,
    droplet: options.DropletOption = None,
    as_json: options.JsonOption = False,
    verbose: options.VerboseOption = 0,
) -> None:
    """Every container's memory, a ledger that adds up to the RAM, and what to do about it. Changes nothing."""
    from opsctl.cli.context import Context
    from opsctl.cli.output import finish
    from opsctl.render.memory import print_report
    from opsctl.render.memory_text import text_report

    context = Context(ctx, stack=stack, droplets=droplet, verbose=verbose)
    result = context.over(lambda session: _collect(session, disk_wait), reading=True)
    reports = [each.result for each in result.droplets if each.result is not None]
    if html is not None and reports:
        _write(html, reports)
    spaced = iter(["", *["\n"] * len(reports)])

    def show(each: DropletResult[MemoryReport]) -> None:
        if html is not None or each.result is None:
            return
        typer.echo(next(spaced), nl=False)
        if form is Format.TEXT:
            typer.echo(text_report(each.result), nl=False)
        else:
            print_report(each.result)

    code = finish("memory.report", result, as_json=as_json, render=show, run_id=context.run_id, redact=context.redact)
    raise typer.Exit(int(code))


def _collect(session: Session, disk_wait: float) -> DropletResult[MemoryReport]:
    from opsctl.jobs.memory import collect, engine_error
    from opsctl.model.errors import ExitCode
    from opsctl.model.result import DropletResult

    seen = collect(
        session.reads, session.memory, session.stack, session.droplet, cancel=session.cancel, patience=disk_wait
    )
    error = engine_error(seen)
    return DropletResult(session.droplet.name, seen, error, ExitCode.DONE if error is None else ExitCode.UNREACHABLE)


def _write(path: Path, reports: list[MemoryReport]) -> None:
    from opsctl.model.errors import OpsError
    from opsctl.render.html_report import html_report

    try:
        path.write_text(html_report(reports), encoding="utf-8")
    except OSError as error:
        raise OpsError(
            f"{path} could not be written",
            why=str(error.strerror or error),
            next="opsctl memory report --html report.html",
        ) from error
    typer.echo(f"wrote {path}", err=True)
