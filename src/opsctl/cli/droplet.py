"""`opsctl droplet`: droplets through their provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from opsctl.cli import commands, droplet_change, droplet_dns
from opsctl.cli.context import Context
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.errors import OpsError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.model.droplet import Listed, Offered, Shown, SizeAdvice
    from opsctl.model.stack import Droplet

T = TypeVar("T")

_HELP = "Droplets through their provider: power, snapshots, sizes, DNS."
group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="droplet", help=_HELP, rich_help_panel=commands.SETUP)


@group.callback()
def _group() -> None:
    """Droplets through their provider: power, snapshots, sizes, DNS.

    For this the stack file says `provider: {digitalocean: NUMBER}` of a
    droplet; without it, the account is searched for its address. The API
    token comes from $DIGITALOCEAN_TOKEN, or from the provider's token_env,
    token_file or token_command.
    """


@group.command("list")
def list_(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """All droplets of the account, and which of them are in the stack. Changes nothing."""
    from opsctl.jobs.droplet_read import listed
    from opsctl.render.droplet import print_list

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    result: list[DropletResult[Listed]] = []
    for name, account in _accounts(context).items():
        try:
            found = listed(context.cloud(account[0]), account, cancel=context.cancel)
            result += [DropletResult(each.stack or each.droplet.name, each) for each in found]
        except OpsError as error:
            result.append(DropletResult(name, None, error.info, error.exit_code))
    failed = any(each.error is not None for each in result)
    if not as_json and not (failed and len(result) == 1):
        print_list([each.result for each in result if each.result is not None])
    code = finish("droplet.list", CommandResult(tuple(result)), as_json=as_json, render=_nothing, redact=context.redact)
    raise typer.Exit(code)


def _accounts(context: Context) -> dict[str, list[Droplet]]:
    """The stack's droplets by the account they are rented with; the one of the environment where there are none."""
    from opsctl.model.stack import Droplet

    accounts: dict[str, list[Droplet]] = {}
    for each in context.droplets(reading=True) or (Droplet("account", "local"),):
        way = [f"{key}: {each.provider[key]}" for key in sorted(each.provider) if key != "digitalocean"]
        accounts.setdefault(", ".join(way) or "account", []).append(each)
    return accounts


def _nothing(_: object) -> None:
    """What was shown as a whole already."""


@group.command()
def show(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """One droplet: power, size, price, volumes, snapshots, and what was done to it last. Changes nothing."""
    from opsctl.jobs.droplet_read import shown
    from opsctl.jobs.fleet import run_fleet
    from opsctl.render.droplet import print_shown

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(droplet: Droplet) -> DropletResult[Shown]:
        return DropletResult(droplet.name, shown(context.cloud(droplet), droplet, cancel=context.cancel))

    def render(each: DropletResult[Shown]) -> None:
        assert each.result is not None
        print_shown(each.name, each.result)

    result = run_fleet(context.droplets(reading=True), one)
    raise typer.Exit(finish("droplet.show", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def sizes(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also smaller ones, and those of other kinds.")] = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """The sizes that a droplet can have where it is, with what they cost. Changes nothing."""
    from opsctl.jobs.droplet_read import offered
    from opsctl.jobs.fleet import run_fleet
    from opsctl.render.droplet import print_sizes

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(droplet: Droplet) -> DropletResult[Offered]:
        found = offered(context.cloud(droplet), droplet, every=every, cancel=context.cancel)
        return DropletResult(droplet.name, found)

    def render(each: DropletResult[Offered]) -> None:
        assert each.result is not None
        print_sizes(each.name, each.result)

    result = run_fleet(context.droplets(reading=True), one)
    raise typer.Exit(finish("droplet.sizes", result, as_json=as_json, render=render, redact=context.redact))


@group.command()
def advice(
    ctx: typer.Context,
    service: Annotated[str, typer.Option("--service", help="The service that must not outgrow the droplet.")] = "",
    above: Annotated[
        str, typer.Option("--above", metavar="SIZE", help="What is too much for it, if steady.")
    ] = "1.5GB",
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Is the droplet too small? Three rules, and what the next size costs. Changes nothing.

    It swaps again (traffic and pressure, not the swap that is used); the
    orchestrator steadily holds more than 1.5 GB; a service of the stack does
    not fit any more.
    """
    from opsctl.cli.context import Session
    from opsctl.jobs.droplet_advice import Wanted, advise
    from opsctl.model.errors import UsageError
    from opsctl.model.units import parse_size
    from opsctl.render.droplet import print_advice

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    try:
        wanted = Wanted(service, parse_size(above))
    except ValueError as error:
        raise UsageError(f"--above: {error}", next="opsctl droplet advice --above 1.5GB") from None

    def one(session: Session) -> DropletResult[SizeAdvice]:
        found = advise(
            session.cloud,
            session.reads,
            session.memory,
            session.stack,
            session.droplet,
            wanted=wanted,
            cancel=session.cancel,
        )
        return DropletResult(session.droplet.name, found)

    def render(each: DropletResult[SizeAdvice]) -> None:
        assert each.result is not None
        print_advice(each.name, each.result)

    result = context.over(one, reading=True)
    raise typer.Exit(finish("droplet.advice", result, as_json=as_json, render=render, redact=context.redact))


droplet_change.add(group)
droplet_dns.add(group)
