"""`opsctl init`: a first stack file from what is there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption
from opsctl.model.errors import UnreachableError, UsageError
from opsctl.model.stack import Droplet, Stack

if TYPE_CHECKING:
    from opsctl.jobs.init import InitResult, Wanted
    from opsctl.model.result import DropletResult

HostArgument = Annotated[
    str | None,
    typer.Argument(metavar="USER@HOST", help="The droplet, or a name from a stack file; else this machine."),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")]
ProjectOption = Annotated[
    str, typer.Option("--project", metavar="NAME", help="The compose project, where several run.")
]
ComposeOption = Annotated[
    list[str] | None,
    typer.Option("--compose", metavar="PATH", help="The compose file on the droplet; may be repeated."),
]


def init(
    ctx: typer.Context,
    host: HostArgument = None,
    output: OutputOption = Path("opsctl.yaml"),
    force: ForceOption = False,
    project: ProjectOption = "",
    compose: ComposeOption = None,
    stack: StackOption = None,
    droplets: DropletOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Write a first stack file from what is there.

    The compose file is the one that runs, else one found on the droplet; phases follow from depends_on.

    Memory comes from what runs now, or from limits. Nothing is changed on the droplet.
    """
    from opsctl.cli.output import finish
    from opsctl.jobs.fleet import run_fleet
    from opsctl.jobs.init import Wanted, check_output
    from opsctl.jobs.init_text import advice
    from opsctl.model.stackfile import with_droplets

    named = _one_name(host, droplets or ())
    wanted = Wanted(output, force, project, tuple(compose or ()), dry_run)
    check_output(wanted)
    context = Context(ctx, stack=stack, droplets=[named], verbose=verbose)
    if "@" in named or named == "local":
        # The stack file that is about to be replaced may be the broken one.
        context.stack = with_droplets(Stack(None, {}, {}), [named])
    asked = bool(host or droplets)
    result = run_fleet((context.one(),), lambda each: _init(context, each, wanted, elsewhere=not asked))

    def render(each: DropletResult[InitResult]) -> None:
        from opsctl.render.init import print_found

        if each.result is not None:
            found = each.result
            then = _then(found.path, written=found.written)
            hint = advice(found.draft)
            print_found(found.draft, path=found.path, text=found.text, written=found.written, hint=hint, then=then)

    raise typer.Exit(finish("init", result, as_json=as_json, render=render, redact=context.redact))


def _one_name(host: str | None, droplets: Sequence[str]) -> str:
    names = list(dict.fromkeys([*([host] if host else []), *droplets]))
    if len(names) > 1:
        raise UsageError(
            "init looks at one droplet", why=f"{', '.join(names)} were named", next=f"opsctl init {names[0]}"
        )
    return names[0] if names else "local"


def _init(context: Context, droplet: Droplet, wanted: Wanted, *, elsewhere: bool) -> DropletResult[InitResult]:
    from opsctl.jobs import init as job
    from opsctl.jobs.fleet import succeeded

    made = f"Written by {context.command_line} on {datetime.now(UTC):%Y-%m-%d}."
    try:
        with context.session(droplet) as session:
            made_file = job.init(
                session.reads, session.engine_of, session.memory, droplet, wanted, made=made, cancel=session.cancel
            )
    except UnreachableError as error:
        if elsewhere and droplet.address == "local":
            error.info = replace(error.info, next="opsctl init user@host   (for a droplet that is not this machine)")
        raise
    return succeeded(droplet, made_file)


def _then(path: str, *, written: bool) -> list[str]:
    if not written:
        return ["the same without --dry-run"]
    flag = "" if path == "opsctl.yaml" else f" --stack {shlex.quote(path)}"
    return [f"opsctl config show{flag}", f"opsctl startup --dry-run{flag}", f"opsctl memory report{flag}"]


def register(app: typer.Typer) -> None:
    """Add `init`."""
    app.command("init", rich_help_panel=commands.SETUP)(init)
