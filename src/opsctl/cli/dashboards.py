"""`opsctl dashboards`: Grafana's dashboards as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish
from opsctl.model.errors import ConfigError
from opsctl.model.result import DropletResult
from opsctl.model.secret import Secret

if TYPE_CHECKING:
    from opsctl.model.probing import Exported

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="dashboards", help="Grafana's dashboards as files.", rich_help_panel=commands.SETUP)


@app.callback()
def group() -> None:
    """Grafana's dashboards as files."""


@app.command()
def export(
    ctx: typer.Context,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the files go, here.")],
    service: Annotated[
        str, typer.Option("--service", metavar="NAME[:PORT]", help="Grafana's own service.")
    ] = "grafana",
    token_env: Annotated[
        str, typer.Option("--token-env", metavar="NAME", help="The variable with the token, where Grafana wants one.")
    ] = "GRAFANA_TOKEN",  # noqa: S107 - a variable's name
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Write every dashboard to DIR/<uid>.json, through SSH and Grafana's own API.

    Nothing changes on the droplet. With several droplets each has a folder
    of its own in DIR. Exit 7 when Grafana shows no dashboard at all.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    token = Secret(os.environ.get(token_env, ""))
    if token_env != "GRAFANA_TOKEN" and not token:  # noqa: S105 - a variable's name
        raise ConfigError(f"${token_env} is not set", why="--token-env names it", next=f"export {token_env}=…")
    context.redact.learn(token)
    many = len(context.droplets(reading=True)) > 1

    def job(session: Session) -> DropletResult[Exported]:
        from opsctl.jobs.containers import read
        from opsctl.jobs.dashboards import export as bring
        from opsctl.jobs.tunnel import find, parse_wish

        wish = parse_wish(service)
        there = read(session.reads, session.stack, session.droplet, cancel=session.cancel)
        known = session.stack.services.get(wish.name)
        target = find(session.reads, there, wish, known, session.droplet, cancel=session.cancel)
        address = (target.host, target.host_port)
        folder = to / session.droplet.name if many else to
        done = bring(session.host, session.evidence, address, folder, token, dry_run=dry_run, cancel=session.cancel)
        return DropletResult(session.droplet.name, done)

    result = context.over(job, reading=True)
    raise typer.Exit(finish("dashboards.export", result, as_json=as_json, render=_render, redact=context.redact))


def _render(each: DropletResult[Exported]) -> None:
    found = each.result
    if found is None:
        return
    for one in found.dashboards:
        word = ("would be written" if found.dry_run else "written") if one.changed else "unchanged"
        typer.echo(f"✓ {one.title}  {one.path}  {word}")
