"""`opsctl droplet reboot | power-cycle | power-on | resize | snapshot`: costs shown, questions asked, then done."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl import __version__
from opsctl.cli.changing import patiently
from opsctl.cli.context import Context, Session
from opsctl.cli.options import (
    ConfirmOption,
    DropletOption,
    DryRunOption,
    JsonOption,
    StackOption,
    VerboseOption,
    WaitOption,
    YesOption,
)
from opsctl.cli.output import finish
from opsctl.model.errors import ExitCode, UsageError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.jobs.droplet_plan import Proposal
    from opsctl.jobs.droplet_run import CloudCall
    from opsctl.model.cloud import CloudDroplet
    from opsctl.model.droplet import CloudChanged
    from opsctl.model.ports import Host, Reporter
    from opsctl.model.stack import Droplet

Propose = Callable[["Context", "Droplet", "CloudDroplet"], "Proposal"]

BackOption = Annotated[
    str,
    typer.Option("--ssh-wait", metavar="TIME", help="How long it may take until SSH answers again; 0 does not wait."),
]


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command()(reboot)
    group.command("power-cycle")(power_cycle)
    group.command("power-on")(power_on)
    group.command()(snapshot)
    group.command()(resize)


def reboot(
    ctx: typer.Context,
    ssh_wait: BackOption = "3m",
    wait: WaitOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Reboot a droplet through its provider, and wait until SSH answers in the new boot. Asks first.

    Takes the droplet's lease, so that nobody's run is cut; a droplet that
    does not answer within 5 s is rebooted without.
    """
    from opsctl.jobs import droplet_plan

    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose, wait=wait)
    back = seconds(ssh_wait, "--ssh-wait", f"{ctx.command_path} --ssh-wait 3m")

    def propose(_: Context, droplet: Droplet, there: CloudDroplet) -> Proposal:
        return droplet_plan.reboot(there, droplet.name, back_of(droplet, back))

    raise typer.Exit(change_cloud(context, "droplet.reboot", propose, as_json=as_json, dry_run=dry_run))


def power_cycle(
    ctx: typer.Context,
    ssh_wait: BackOption = "3m",
    wait: WaitOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Cut a droplet's power and switch it on again: for one that hangs. Asks first.

    Followed to its end: an action that errored is a failure, one after which
    the droplet is still off is mended. Then SSH has to answer in a new boot.
    """
    from opsctl.jobs import droplet_plan

    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose, wait=wait)
    back = seconds(ssh_wait, "--ssh-wait", f"{ctx.command_path} --ssh-wait 3m")

    def propose(_: Context, droplet: Droplet, there: CloudDroplet) -> Proposal:
        return droplet_plan.power_cycle(there, droplet.name, back_of(droplet, back))

    raise typer.Exit(change_cloud(context, "droplet.power-cycle", propose, as_json=as_json, dry_run=dry_run))


def power_on(
    ctx: typer.Context,
    ssh_wait: BackOption = "3m",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Switch on a droplet that is off, and wait until SSH answers."""
    from opsctl.jobs import droplet_plan

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    back = seconds(ssh_wait, "--ssh-wait", f"{ctx.command_path} --ssh-wait 3m")

    def propose(_: Context, droplet: Droplet, there: CloudDroplet) -> Proposal:
        return droplet_plan.power_on(there, droplet.name, back_of(droplet, back))

    raise typer.Exit(change_cloud(context, "droplet.power-on", propose, as_json=as_json, dry_run=dry_run))


def snapshot(
    ctx: typer.Context,
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="TIME", help="Then delete opsctl's own snapshots that are older: 7d."),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="A name of your own; opsctl will never delete it.")
    ] = "",
    yes: YesOption = False,
    confirm: ConfirmOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Copy a droplet's disk and each of its volumes, under one name. Says what it costs, and asks.

    The provider's own copy of a droplet leaves its volumes out. With --keep,
    snapshots that opsctl made and that are older go when all copies are
    made: never the newest, never what somebody else made. That deletion
    wants the droplet's name.
    """
    from opsctl.jobs import droplet_plan

    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose)
    age = None if keep is None else seconds(keep, "--keep", "opsctl droplet snapshot --keep 7d")
    if age is not None and age < 60:
        again = "opsctl droplet snapshot --keep 7d"
        raise UsageError("--keep wants at least a minute", why=f"{keep} would keep none", next=again)

    def propose(context: Context, droplet: Droplet, there: CloudDroplet) -> Proposal:
        cloud = context.cloud(droplet)
        volumes = cloud.volumes(there.id, cancel=context.cancel)
        copies = cloud.snapshots(there.id, cancel=context.cancel)
        now = datetime.now(UTC)
        return droplet_plan.snapshot(there, droplet.name, volumes, copies, now=now, keep=age, own_name=name)

    code = change_cloud(context, "droplet.snapshot", propose, as_json=as_json, dry_run=dry_run, confirmed=confirm or ())
    raise typer.Exit(code)


def resize(
    ctx: typer.Context,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="As `opsctl droplet sizes` names it: s-2vcpu-4gb.")],
    disk: Annotated[bool, typer.Option("--disk", help="Grow the disk too: for good, there is no way back.")] = False,
    ssh_wait: BackOption = "5m",
    wait: WaitOption = None,
    yes: YesOption = False,
    confirm: ConfirmOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Give a droplet another size: off, resized, on again, and proved. Says what it costs, and asks.

    A resize that errors ends with the droplet switched on as it was. Where
    the run is interrupted, the same command again brings it to its end.
    With --disk the question wants the droplet's name.
    """
    from opsctl.jobs import droplet_plan

    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose, wait=wait)
    back = seconds(ssh_wait, "--ssh-wait", f"{ctx.command_path} {size} --ssh-wait 5m")

    def propose(context: Context, droplet: Droplet, there: CloudDroplet) -> Proposal:
        offers = context.cloud(droplet).sizes(cancel=context.cancel)
        return droplet_plan.resize(there, droplet.name, size, offers, disk=disk, back=back_of(droplet, back))

    code = change_cloud(context, "droplet.resize", propose, as_json=as_json, dry_run=dry_run, confirmed=confirm or ())
    raise typer.Exit(code)


def seconds(text: str, option: str, example: str) -> float:
    """The seconds of an option; `example` is a command that would be right, the duration last. Raises UsageError."""
    from opsctl.model.units import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError:
        like = example.rpartition(" ")[2]
        raise UsageError(
            f"{option}: {text!r} is not a duration", why=f"it is written like {like}", next=example
        ) from None


def back_of(droplet: Droplet, wanted: float) -> float:
    """Who works on the droplet itself is gone when it comes back."""
    return 0.0 if droplet.address == "local" else wanted


def change_cloud(
    context: Context,
    name: str,
    propose: Propose,
    *,
    as_json: bool,
    dry_run: bool,
    confirmed: Sequence[str] = (),
) -> ExitCode:
    """Propose on every droplet of this call; show, ask, and carry out what was shown."""
    from opsctl.jobs.droplet_find import find
    from opsctl.jobs.fleet import run_fleet
    from opsctl.render.droplet_change import print_changed, print_proposal
    from opsctl.render.progress import progress

    _ = context.wait
    chosen = context.droplets(reading=dry_run)

    def prepare(droplet: Droplet) -> DropletResult[Proposal]:
        settled = find(context.cloud(droplet), droplet, cancel=context.cancel)
        return DropletResult(droplet.name, propose(context, droplet, settled))

    prepared = run_fleet(chosen, prepare)
    plans = {each.name: each.result for each in prepared.droplets if each.result is not None}

    def render(each: DropletResult[CloudChanged]) -> None:
        assert each.result is not None
        print_changed(each.name, each.result, redact=context.redact, many=len(chosen) > 1)

    if dry_run or len(plans) < len(chosen):
        shown = CommandResult(tuple(_shown(each) for each in prepared.droplets))
        return finish(name, shown, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)
    for each in chosen:
        if plans[each.name].changes:
            if not as_json:
                print_proposal(each.name, plans[each.name].costs, plans[each.name].notes, redact=context.redact)
            _ask(context, each.name, plans[each.name], confirmed)
    with progress(as_json=as_json, many=len(chosen) > 1, redact=context.redact) as reporter:
        result = run_fleet(chosen, lambda droplet: _one(context, droplet, plans[droplet.name], reporter))
    return finish(name, result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)


def _shown(each: DropletResult[Proposal]) -> DropletResult[CloudChanged]:
    from opsctl.jobs.droplet_run import proposed

    return DropletResult(each.name, proposed(each.result) if each.result else None, each.error, each.exit_code)


def _ask(context: Context, droplet: str, proposal: Proposal, confirmed: Sequence[str]) -> None:
    question = proposal.question
    if context.on_terminal:
        question = textwrap.fill(question, max(40, shutil.get_terminal_size().columns - len(" [y/N]: ")))
    if proposal.by_name:
        context.confirm_name(question, droplet, confirmed)
    elif question:
        context.confirm(question)


def _one(context: Context, droplet: Droplet, proposal: Proposal, reporter: Reporter) -> DropletResult[CloudChanged]:
    from opsctl.jobs.droplet_run import carry_out

    with context.session(droplet) as session:
        return patiently(
            context, session, reporter, lambda: carry_out(cloud_call(context, session, reporter), proposal)
        )


def cloud_call(context: Context, session: Session, reporter: Reporter) -> CloudCall:
    """What a job that works through the provider is given on one droplet."""
    from opsctl.jobs.droplet_run import CloudCall
    from opsctl.spine.audit import Actor, Entry

    @contextmanager
    def again() -> Iterator[Host]:
        with context.session(session.droplet) as new:
            yield new.host

    connect: Callable[[], AbstractContextManager[Host]] = again
    started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    actor = Actor.current()
    return CloudCall(
        cloud=session.cloud,
        host=session.host,
        again=connect,
        droplet=session.droplet,
        entry=Entry(context.run_id, context.command_line, "", actor, started, __version__, name=context.name),
        reporter=reporter,
        cancel=session.cancel,
        redact=context.redact,
    )
