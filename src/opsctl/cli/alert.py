"""`opsctl alert`: tell somebody when a droplet's state changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.options import DropletOption, JsonOption, StackOption, VerboseOption

if TYPE_CHECKING:
    from opsctl.cli.context import Session
    from opsctl.jobs.alerts import Seen
    from opsctl.model.alerts import AlertCheck, AlertTest
    from opsctl.model.result import DropletResult

_HELP = "Tell somebody when a droplet's state changes."
group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="alert", help=_HELP, rich_help_panel=commands.SETUP)


@group.callback()
def _group() -> None:
    """Tell somebody when a droplet's state changes.

    Whom: `alerts: {webhook: URL, command: "…", ping: URL}` in the stack file.
    A webhook takes JSON with `text` (Slack, Mattermost) and `content`
    (Discord); a command on the droplet gets the message on stdin; the ping is
    asked for while all is well, so that its owner notices when nobody asks.
    """


@group.command()
def test(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Send a test message on every way, and show what came back. Exit 1 when one did not arrive."""
    from opsctl.cli.context import Context
    from opsctl.cli.output import finish

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(session: Session) -> DropletResult[AlertTest]:
        from opsctl.jobs.alerts import test as send

        return send(session.host, session.stack, session.droplet, cancel=session.cancel)

    def render(each: DropletResult[AlertTest]) -> None:
        from opsctl.render.alert import print_test

        if each.result is not None:
            print_test(each.name, each.result)

    result = context.over(one, reading=False)
    raise typer.Exit(int(finish("alert.test", result, as_json=as_json, render=render, redact=context.redact)))


@group.command()
def check(
    ctx: typer.Context,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", min=0, help="How long something must be wrong first.")
    ] = 45.0,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Look, and tell what changed since the last look. What the job `watch` runs every minute.

    A message when something has been wrong for 45 s, one when it is well
    again, a reminder after 6 hours, and nothing else. Exit 0 also while
    something is wrong, 1 when a message did not arrive; a script that wants
    to know whether all is well asks `opsctl status --check`.
    """
    from opsctl.cli.context import Context
    from opsctl.cli.output import finish

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(session: Session) -> DropletResult[AlertCheck]:
        from opsctl.jobs import alerts

        return alerts.check(
            session.host, session.stack, session.droplet, _look(session), cancel=session.cancel, patience=patience
        )

    def render(each: DropletResult[AlertCheck]) -> None:
        from opsctl.render.alert import print_check

        if each.result is not None:
            print_check(each.name, each.result)

    result = context.over(one, reading=False)
    raise typer.Exit(int(finish("alert.check", result, as_json=as_json, render=render, redact=context.redact)))


def _look(session: Session) -> Seen:
    from opsctl.jobs import alerts
    from opsctl.jobs.status_read import read
    from opsctl.model.errors import Interrupted, OpsError

    try:
        found = read(session.engine, session.reads, session.stack, session.droplet, cancel=session.cancel)
    except Interrupted:
        raise
    except OpsError as error:
        return alerts.broken(error)
    if found.result is None or found.error is not None:
        what = found.error
        return alerts.Seen({"status": (what.what if what else "unreadable", what.next if what else "opsctl status")})
    return alerts.look(found.result)
