"""`opsctl proxy`: what the reverse proxy lets through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.changing import call_of
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption, WaitOption
from opsctl.cli.output import finish
from opsctl.model.errors import UsageError

if TYPE_CHECKING:
    from opsctl.model.proxy import ProxyResult
    from opsctl.model.result import DropletResult

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(
        app, name="proxy", help="Which routes the reverse proxy has; take some away.", rich_help_panel=commands.SETUP
    )


@app.callback()
def group() -> None:
    """Which routes the reverse proxy has; take some away."""


@app.command()
def routes(
    ctx: typer.Context,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="SERVICE", help="Take away what leads to it or is guarded by it; repeatable."
        ),
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Put back what was there before the first change.")
    ] = False,
    service: Annotated[str, typer.Option("--service", metavar="NAME", help="The proxy's own service.")] = "caddy",
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Show what a Caddy lets through; take routes away, put them back.

    With --without SERVICE no route leads to it any more; a route that it
    guards goes too, or it would stand open. Caddy checks the new Caddyfile
    before it is written, is reloaded, and must read it without those
    services; else what was there before is back. The first Caddyfile is
    kept on the droplet for --restore.
    """
    if without and restore:
        raise UsageError("--without and --restore exclude each other", next="opsctl proxy routes --restore")
    changes = bool(without) or restore
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)
    reading = dry_run or not changes
    many = len(context.droplets(reading=reading)) > 1
    from opsctl.render.progress import progress

    with progress(as_json=as_json or reading, many=many, redact=context.redact) as reporter:

        def one(session: Session) -> DropletResult[ProxyResult]:
            from opsctl.jobs.proxy import change

            call = call_of(context, session, reporter, dry_run=dry_run)
            return change(call, service, tuple(without or ()), restore=restore)

        result = context.over(one, reading=reading)

    def render(each: DropletResult[ProxyResult]) -> None:
        from opsctl.render.proxy import print_proxy

        if each.result is not None:
            print_proxy(each.name, each.result, many=many)

    run_id = context.run_id if changes else None
    raise typer.Exit(
        finish("proxy.routes", result, as_json=as_json, render=render, run_id=run_id, redact=context.redact)
    )
