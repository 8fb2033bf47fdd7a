"""`opsctl droplet dns`: records of the provider's DNS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli.context import Context
from opsctl.cli.droplet_change import cloud_call
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption, YesOption
from opsctl.cli.output import finish
from opsctl.model.cloud import Cloud
from opsctl.model.errors import ExitCode, UsageError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.model.droplet import CloudChanged, Names
    from opsctl.model.plan import Plan
    from opsctl.model.stack import Droplet

Planned = Callable[[Cloud], "tuple[Plan, tuple[str, ...]]"]

dns = typer.Typer(no_args_is_help=True)


def add(group: typer.Typer) -> None:
    """Add the group."""
    group.add_typer(dns, name="dns", help="Records of the provider's DNS: shown, set, and put back.")


@dns.callback()
def _group() -> None:
    """Records of the provider's DNS: shown, set, and put back."""


@dns.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A domain or a name in it; without, all.")] = "",
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """The records of a name with their TTL, and what could be put back. Changes nothing."""
    from opsctl.jobs.droplet_dns import names
    from opsctl.render.droplet_change import print_names

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    droplet = _account(context)
    found = names(context.cloud(droplet), name, cancel=context.cancel)

    def render(each: DropletResult[Names]) -> None:
        assert each.result is not None
        print_names(each.result)

    result = CommandResult((DropletResult(droplet.name, found),))
    raise typer.Exit(finish("droplet.dns.show", result, as_json=as_json, render=render, redact=context.redact))


@dns.command("set")
def set_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The whole name: api.example.com.")],
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="A, AAAA, CNAME, TXT, MX, …")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="What it is to be: an address, a name, a text.")],
    ttl: Annotated[
        int, typer.Option("--ttl", min=30, max=604800, metavar="SECONDS", help="How long it may be kept.")
    ] = 1800,
    instead_of: Annotated[
        str, typer.Option("--replace", metavar="VALUE", help="Which one is meant, where there are several.")
    ] = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Set a record, and read it back. What it was is shown and kept: `dns restore` puts it back. Asks first."""
    from opsctl.jobs.droplet_dns import plan_set

    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose)

    def planned(cloud: Cloud) -> tuple[Plan, tuple[str, ...]]:
        return plan_set(cloud, name, kind, value, ttl=ttl, replace_value=instead_of, cancel=context.cancel)

    raise typer.Exit(_change(context, "droplet.dns.set", planned, as_json=as_json, dry_run=dry_run))


@dns.command()
def restore(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Which name; without, what was changed last.")] = "",
    kind: Annotated[str, typer.Argument(metavar="[TYPE]", help="Which type of record.")] = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Put a record back to what it was before `dns set` on this machine. Asks first."""
    from opsctl.jobs.droplet_dns import plan_restore

    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose)

    def planned(cloud: Cloud) -> tuple[Plan, tuple[str, ...]]:
        return plan_restore(cloud, name, kind, cancel=context.cancel)

    raise typer.Exit(_change(context, "droplet.dns.restore", planned, as_json=as_json, dry_run=dry_run))


def _change(context: Context, name: str, planned: Planned, *, as_json: bool, dry_run: bool) -> ExitCode:
    from opsctl.jobs.droplet_dns_run import carry_out
    from opsctl.model.droplet import CloudChanged
    from opsctl.render.droplet_change import print_changed, print_steps
    from opsctl.render.progress import progress

    droplet = _account(context)
    plan, notes = planned(context.cloud(droplet))

    def render(each: DropletResult[CloudChanged]) -> None:
        assert each.result is not None
        print_changed("", each.result, redact=context.redact)

    if dry_run or not plan.steps:
        changed = CloudChanged(dry_run, plan.to_json(), notes, (), None, None)
        result = CommandResult((DropletResult(droplet.name, changed),))
        return finish(name, result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)
    if not as_json:
        print_steps(plan.to_json(), notes, redact=context.redact)
    context.confirm("Change it?")
    with progress(as_json=as_json, many=False, redact=context.redact) as reporter, context.session(droplet) as session:
        done = carry_out(cloud_call(context, session, reporter), plan)
    result = CommandResult((done,))
    return finish(name, result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)


def _account(context: Context) -> Droplet:
    """A droplet of the account that is meant: DNS belongs to the account. Raises UsageError where there are several."""
    from opsctl.model.stack import Droplet

    chosen = context.droplets(reading=True) or (Droplet("account", "local"),)
    accounts = {
        tuple(sorted((key, str(value)) for key, value in each.provider.items() if key != "digitalocean")): each
        for each in reversed(chosen)
    }
    if len(accounts) > 1:
        raise UsageError(
            f"the stack's droplets are rented with {len(accounts)} accounts",
            why="a record belongs to one of them",
            next=f"{context.command_line} -d {chosen[0].name}",
        )
    return chosen[0]
