"""`opsctl deploy`: bring compose file and configuration to a droplet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.deploying import go
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
    from opsctl.model.deploy import Deployed
    from opsctl.model.result import DropletResult

_FROM = "From where"
_WHAT = "What it may do"


def deploy(
    ctx: typer.Context,
    ref: Annotated[
        str | None,
        typer.Option(
            "--ref", metavar="REF", help="Fetch and check out in the droplet's checkout.", rich_help_panel=_FROM
        ),
    ] = None,
    push: Annotated[
        Path | None,
        typer.Option("--push", metavar="PATH", help="Put this folder's files, or this file.", rich_help_panel=_FROM),
    ] = None,
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="FOLDER",
            help="Where --push puts them; else beside the compose file.",
            rich_help_panel=_FROM,
        ),
    ] = "",
    pull: Annotated[bool, typer.Option("--pull", help="Pull images.", rich_help_panel=_WHAT)] = False,
    build: Annotated[bool, typer.Option("--build", help="Build on the droplet.", rich_help_panel=_WHAT)] = False,
    build_memory: Annotated[
        str, typer.Option("--build-memory", metavar="SIZE", help="What a build may need.", rich_help_panel=_WHAT)
    ] = "400MB",
    remove_orphans: Annotated[
        bool,
        typer.Option(
            "--remove-orphans", help="Remove containers of services that left the file.", rich_help_panel=_WHAT
        ),
    ] = False,
    remove_keys: Annotated[
        bool, typer.Option("--remove-keys", help="Env files may lose variables.", rich_help_panel=_WHAT)
    ] = False,
    data_moved: Annotated[
        list[str] | None,
        typer.Option(
            "--data-moved", metavar="SERVICE", help="You have moved its data yourself.", rich_help_panel=_WHAT
        ),
    ] = None,
    phase: Annotated[
        int | None,
        typer.Option(
            "--phase", min=1, metavar="N", help="Bring up to this phase; else what runs.", rich_help_panel=_WHAT
        ),
    ] = None,
    rollback_on_failure: Annotated[
        bool, typer.Option("--rollback-on-failure", help="Go back by itself when it fails.", rich_help_panel=_WHAT)
    ] = False,
    ignore_memory: Annotated[
        bool, typer.Option("--ignore-memory", help="Start what does not fit, too.", rich_help_panel=_WHAT)
    ] = False,
    settle: Annotated[
        str, typer.Option("--settle", metavar="TIME", help="Watch that long at the end.", rich_help_panel=_WHAT)
    ] = "0s",
    wait: WaitOption = None,
    resume: ResumeOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Bring compose file and configuration to a droplet, and recreate what changed.

    From a git ref of the checkout on the droplet (--ref), or pushed from here
    (--push); without either, from what lies there. Only containers that differ
    are recreated, in phases, each gated on health and memory. What runs before
    is kept as a release: `opsctl rollback` brings it back, images and all.
    """
    from opsctl.model.errors import UsageError

    if ref and push:
        raise UsageError("--ref and --push exclude each other", next="opsctl deploy --ref REF")
    if into and not push:
        raise UsageError("--into says where --push puts its files", next="opsctl deploy --push FOLDER --into FOLDER")
    if ref and ref.startswith("-"):
        raise UsageError(f"--ref: {ref} is no name of a branch, tag or commit", next="opsctl deploy --ref main")
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait, resume=resume)
    watch, needs = _seconds(settle), _size(build_memory)

    def job(call: Call) -> DropletResult[Deployed]:
        from opsctl.jobs.deploy import deploy as bring
        from opsctl.jobs.deploy import known_files
        from opsctl.jobs.deploy_options import Options
        from opsctl.jobs.deploy_source import folder_of, in_place, pushed
        from opsctl.model.deploy import Source

        known = known_files(call)
        folder = folder_of(call.droplet, into, known)
        source = in_place(folder)
        if push is not None:
            source = pushed(push, folder, known)
        elif ref:
            source = Source("ref", folder, ref=ref)
        options = Options(
            pull, build, remove_orphans, ignore_memory, phase, watch, needs, remove_keys, tuple(data_moved or ())
        )
        return bring(call, source, options, rollback_on_failure=rollback_on_failure)

    raise typer.Exit(go(context, "deploy", job, as_json=as_json, dry_run=dry_run))


def _seconds(text: str) -> float:
    from opsctl.model.errors import UsageError
    from opsctl.model.units import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise UsageError(f"--settle: {error}", next="opsctl deploy --settle 10s") from None


def _size(text: str) -> int:
    from opsctl.model.errors import UsageError
    from opsctl.model.units import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"--build-memory: {error}", next="opsctl deploy --build --build-memory 600MB") from None


def register(app: typer.Typer) -> None:
    """Add `deploy`."""
    app.command("deploy", rich_help_panel=commands.SETUP)(deploy)
