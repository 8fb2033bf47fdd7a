"""`opsctl migrate volumes-to-host`: a named volume becomes a folder of the host, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli.context import Context
from opsctl.cli.deploying import run
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption, WaitOption

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.model.result import DropletResult
    from opsctl.model.volumes import VolumeMoved

NAME = "migrate.volumes-to-host"


def volumes_to_host(
    ctx: typer.Context,
    volume: Annotated[str, typer.Argument(metavar="VOLUME", help="Its name in the compose file.")],
    to: Annotated[str, typer.Option("--to", metavar="FOLDER", help="The folder on the droplet.")] = "",
    switch: Annotated[
        bool, typer.Option("--switch", help="Stop, prove, write the compose file, recreate the service.")
    ] = False,
    back: Annotated[bool, typer.Option("--back", help="The other way, with what was written since.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Remove the volume that was left behind.")] = False,
    confirm: Annotated[
        list[str] | None, typer.Option("--confirm", metavar="NAME", help="With --finish: the volume's whole name.")
    ] = None,
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Start what does not fit, too.")] = False,
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Move a named volume's data to a folder of the host, or back.

    Without --switch the data is copied while the service runs, and the change
    of the compose file is shown. With it the service is stopped, what has
    changed since is copied, both sides are proved equal, the file is written
    as a release, and only that service is recreated. The volume stays.
    """
    from opsctl.model.errors import UsageError

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)
    if finish and (to or back or switch):
        raise UsageError(
            "--finish stands alone",
            why="it removes the volume of a move that is over",
            next=f"opsctl migrate volumes-to-host {volume} --finish",
        )
    if not (finish or to or back):
        folder = f"--to /opt/stack/data/{volume}"
        raise UsageError(
            "--to is missing: into which folder of the droplet?",
            why="it wants a whole path of at least two parts; --back moves the data into the volume again",
            next=f"{context.command_line} {folder}",
        )
    many = len(context.droplets(reading=dry_run)) > 1

    def job(call: Call) -> DropletResult[VolumeMoved]:
        from opsctl.jobs.deploy_options import Options
        from opsctl.jobs.volumes import move, remove

        if finish:
            return remove(call, volume, confirm or ())
        return move(call, volume, to, back=back, switch=switch, options=Options(ignore_memory=ignore_memory))

    def render(each: DropletResult[VolumeMoved]) -> None:
        from opsctl.render.volumes import print_moved

        if each.result is not None:
            print_moved(each.name, each.result, redact=context.redact, many=many)

    raise typer.Exit(run(context, NAME, job, render, as_json=as_json, dry_run=dry_run, reading=dry_run))


def register(group: typer.Typer) -> None:
    """Add `migrate volumes-to-host`."""
    group.command("volumes-to-host")(volumes_to_host)
