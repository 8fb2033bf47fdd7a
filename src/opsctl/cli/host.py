"""`opsctl host`: opsctl on the droplet itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.options import (
    DropletOption,
    DryRunOption,
    JsonOption,
    StackOption,
    VerboseOption,
    WaitOption,
    YesOption,
)

if TYPE_CHECKING:
    from opsctl.cli.context import Context, Session
    from opsctl.jobs.call import Call
    from opsctl.model.host import HostChanged, HostStatus
    from opsctl.model.result import DropletResult
    from opsctl.model.run import Changed

_HELP = "opsctl on the droplet itself: for cron, and for what happens after a boot."
group = typer.Typer(no_args_is_help=True)

CronOption = Annotated[bool, typer.Option("--cron", help="Without systemd: replay after a boot with cron's @reboot.")]


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    app.add_typer(group, name="host", help=_HELP, rich_help_panel=commands.SETUP)


@group.callback()
def _group() -> None:
    """opsctl on the droplet itself: for cron, and for what happens after a boot."""


@group.command()
def install(
    ctx: typer.Context,
    cron: CronOption = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = None,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Put opsctl onto the droplet, as it is here, with what it needs and no more.

    It is carried over whole, for the droplet's own Python (3.11 or later); the
    droplet itself needs no network and no pip. With it goes the stack file,
    this droplet as `local`; secrets are in a file of their own for root alone.
    With `boot: replay` a unit brings the stack up in phases after a boot.
    """
    _install(ctx, "install", False, cron, dry_run, wait, as_json, stack, droplets, verbose)


@group.command()
def upgrade(
    ctx: typer.Context,
    cron: CronOption = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = None,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Bring what is on the droplet up to date: opsctl, its stack file, its secrets.

    What is in use stays until the new one has answered and read its stack file.
    """
    _install(ctx, "upgrade", True, cron, dry_run, wait, as_json, stack, droplets, verbose)


def _install(
    ctx: typer.Context,
    name: str,
    again: bool,
    cron: bool,
    dry_run: bool,
    wait: str | None,
    as_json: bool,
    stack: StackOption,
    droplets: DropletOption,
    verbose: int,
) -> None:
    from opsctl.cli.context import Context

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)

    def job(call: Call, session: Session) -> DropletResult[HostChanged]:
        from opsctl.jobs.host import install as put

        return put(call, session.packer, upgrade=again, cron=cron)

    raise typer.Exit(_change(context, f"host.{name}", job, as_json=as_json, dry_run=dry_run))


@group.command()
def remove(
    ctx: typer.Context,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    wait: WaitOption = None,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Give the old restart policies back, and remove exactly what was put there.

    --dry-run lists every file and unit. Containers, volumes and the compose file
    are not touched: what remains is plain compose.
    """
    # On the droplet itself this removes the files that it runs from: what is needed to the end is loaded before.
    import opsctl.render.errors
    import opsctl.render.host
    import opsctl.render.progress  # noqa: F401
    from opsctl.cli.context import Context

    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose, wait=wait)
    if not dry_run:
        names = ", ".join(each.name for each in context.droplets(reading=False))
        context.confirm(f"Remove opsctl, its units and its configuration from {names}?")

    def job(call: Call, session: Session) -> DropletResult[HostChanged]:
        from opsctl.jobs.host import remove as take_away

        return take_away(call)

    raise typer.Exit(_change(context, "host.remove", job, as_json=as_json, dry_run=dry_run))


@group.command()
def status(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """What there is of opsctl on the droplet, and whether it goes with this one.

    One minor version apart works together. The exit status is 1 where what is
    there does not answer, is further away, or where the stack file or a
    secret here has changed since (opsctl host upgrade brings it there).
    """
    from opsctl.cli.context import Context
    from opsctl.cli.output import finish

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def job(session: Session) -> DropletResult[HostStatus]:
        from opsctl.jobs.host_status import status as look

        return look(session.reads, session.stack, session.droplet, cancel=session.cancel)

    result = context.over(job, reading=True)

    def render(each: DropletResult[HostStatus]) -> None:
        from opsctl.render.host import print_host

        if each.result is not None:
            print_host(each.name, each.result, redact=context.redact)

    raise typer.Exit(finish("host.status", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def replay(
    ctx: typer.Context,
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Start what does not fit, too.")] = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = None,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Bring up in phases what was up before the last boot: what the droplet's unit runs.

    It stands aside for a hold (`opsctl recover` leaves one while it works).
    """
    from opsctl.cli.changing import change
    from opsctl.cli.context import Context

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)

    def job(call: Call) -> DropletResult[Changed]:
        from opsctl.jobs.host_replay import replay as bring_up

        return bring_up(call, ignore_memory=ignore_memory)

    raise typer.Exit(change(context, "host.replay", job, as_json=as_json, dry_run=dry_run))


def _change(
    context: Context,
    name: str,
    job: Callable[[Call, Session], DropletResult[HostChanged]],
    *,
    as_json: bool,
    dry_run: bool,
) -> int:
    from opsctl.cli.changing import call_of, patiently
    from opsctl.cli.output import finish
    from opsctl.render.progress import progress

    many = len(context.droplets(reading=dry_run)) > 1
    _ = context.wait
    with progress(as_json=as_json or dry_run, many=many, redact=context.redact) as reporter:

        def one(session: Session) -> DropletResult[HostChanged]:
            def attempt() -> DropletResult[HostChanged]:
                return job(call_of(context, session, reporter, dry_run=dry_run), session)

            return patiently(context, session, reporter, attempt)

        result = context.over(one, reading=dry_run)

    def render(each: DropletResult[HostChanged]) -> None:
        from opsctl.render.host import print_host_changed

        if each.result is not None:
            print_host_changed(each.name, each.result, redact=context.redact, many=many)

    code = finish(name, result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)
    return int(code)
