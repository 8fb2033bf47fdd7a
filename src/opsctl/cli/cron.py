"""`opsctl cron`: jobs that a droplet runs by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption, WaitOption

if TYPE_CHECKING:
    from opsctl.cli.context import Context, Session
    from opsctl.jobs.call import Call
    from opsctl.model.cron import CronChanged, CronListed, CronRun
    from opsctl.model.result import DropletResult

_HELP = "Jobs that a droplet runs by itself: memory, heal, watch, snapshot."
group = typer.Typer(no_args_is_help=True)

JobsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="JOB", help="memory, heal, watch, snapshot; without: the first three.")
]
InstalledArgument = Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Without: all.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="cron", help=_HELP, rich_help_panel=commands.SETUP)


@group.callback()
def _group() -> None:
    """Jobs that a droplet runs by itself: memory, heal, watch, snapshot.

    systemd timers where systemd runs, else /etc/cron.d. One at a time,
    bounded, silent when all is well; where somebody else holds the lease, a
    job is skipped. What a job said is in /var/lib/opsctl/cron on the droplet.
    """


@group.command()
def install(
    ctx: typer.Context,
    jobs: JobsArgument = None,
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Let jobs run by themselves. Needs opsctl on the droplet (opsctl host install).

    memory every 5 minutes, heal every 2, watch every minute; snapshot, where
    it is named, once a day: it costs money, copies older than 7 days go, and
    the provider's API token is put onto the droplet, for root alone.
    """
    from opsctl.cli.context import Context

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)

    def job(call: Call) -> DropletResult[CronChanged]:
        from opsctl.jobs.cron import install as put

        return put(call, jobs or (), lambda: context.cloud_token(call.droplet))

    raise typer.Exit(_change(context, "cron.install", job, as_json=as_json, dry_run=dry_run))


@group.command()
def remove(
    ctx: typer.Context,
    jobs: InstalledArgument = None,
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Let jobs run no more; the last one takes the logs along."""
    from opsctl.cli.context import Context

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)

    def job(call: Call) -> DropletResult[CronChanged]:
        from opsctl.jobs.cron import remove as take

        return take(call, jobs or ())

    raise typer.Exit(_change(context, "cron.remove", job, as_json=as_json, dry_run=dry_run))


@group.command("list")
def list_(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Every job: whether it is installed, how it ended last, when it runs next. Changes nothing."""
    from opsctl.cli.context import Context
    from opsctl.cli.output import finish

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(session: Session) -> DropletResult[CronListed]:
        from opsctl.jobs.cron import show
        from opsctl.model.result import DropletResult

        name = session.droplet.name
        return DropletResult(name, show(session.reads, name, cancel=session.cancel))

    def render(each: DropletResult[CronListed]) -> None:
        from opsctl.render.cron import print_listed

        if each.result is not None:
            print_listed(each.name, each.result)

    result = context.over(one, reading=True)
    raise typer.Exit(finish("cron.list", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def run(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="memory, heal, watch or snapshot.")],
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Run one job now, on the droplet, as it would run by itself: with its lock, its deadline and its log.

    It need not be installed, opsctl itself must be there. Exits as the job does.
    """
    from opsctl.cli.context import Context
    from opsctl.cli.output import finish

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(session: Session) -> DropletResult[CronRun]:
        from opsctl.jobs.cron import run as run_now

        return run_now(session.host, session.droplet, job, cancel=session.cancel)

    def render(each: DropletResult[CronRun]) -> None:
        from opsctl.render.cron import print_ran

        if each.result is not None:
            print_ran(each.name, each.result)

    result = context.over(one, reading=False)
    raise typer.Exit(finish("cron.run", result, as_json=as_json, render=render, redact=context.redact))


def _change(
    context: Context, name: str, job: Callable[[Call], DropletResult[CronChanged]], *, as_json: bool, dry_run: bool
) -> int:
    from opsctl.cli.changing import call_of, patiently
    from opsctl.cli.output import finish
    from opsctl.render.progress import progress

    many = len(context.droplets(reading=dry_run)) > 1
    _ = context.wait
    with progress(as_json=as_json or dry_run, many=many, redact=context.redact) as reporter:

        def one(session: Session) -> DropletResult[CronChanged]:
            return patiently(
                context, session, reporter, lambda: job(call_of(context, session, reporter, dry_run=dry_run))
            )

        result = context.over(one, reading=dry_run)

    def render(each: DropletResult[CronChanged]) -> None:
        from opsctl.render.cron import print_changed

        if each.result is not None:
            print_changed(each.name, each.result)

    return int(finish(name, result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact))
