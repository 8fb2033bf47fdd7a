"""`opsctl lease`: who may change a droplet right now, and taking that away."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl import __version__
from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, DryRunOption, JsonOption, StackOption, VerboseOption, YesOption
from opsctl.cli.output import finish
from opsctl.model.errors import UsageError
from opsctl.model.lease import LeaseBreak, LeaseReport, LeaseState
from opsctl.model.result import DropletResult

if TYPE_CHECKING:
    from opsctl.spine.audit import Entry

ScopeOption = Annotated[
    str, typer.Option("--scope", metavar="SCOPE", help="Which lease: stack, or one that `lease show` names.")
]


def show(
    ctx: typer.Context,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Who may change a droplet right now: who, from where, with which command, since when.

    Reading takes no lease. "abandoned" is free: its holder died, and the next
    one closes its run in the audit.
    """
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)

    def one(session: Session) -> DropletResult[LeaseReport]:
        from opsctl.jobs.call import STATE_DIR
        from opsctl.jobs.lease import read

        return DropletResult(session.droplet.name, read(session.reads, STATE_DIR, cancel=session.cancel))

    def render(each: DropletResult[LeaseReport]) -> None:
        from opsctl.render.lease import print_leases

        assert each.result is not None
        print_leases(each.name, each.result, redact=context.redact)

    result = context.over(one, reading=True)
    raise typer.Exit(finish("lease.show", result, as_json=as_json, render=render, redact=context.redact))


def break_(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the audit.")],
    scope: ScopeOption = "stack",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Take a lease away: end its holder on the droplet with everything it runs there.

    Shows who it is and asks first. Its owner is told, and changes nothing any
    more; the audit says who broke it, and why. A holder whose laptop died
    needs none of this: its lease is free after 60 s.
    """
    context = Context(ctx, stack=stack, droplets=droplets, yes=yes, verbose=verbose)
    if not reason.strip():
        raise UsageError("--reason is empty", why="it goes into the audit", next=f"{context.command_line} 'it hangs'")

    asking = threading.Lock()  # several droplets: one question at a time

    def one(session: Session) -> DropletResult[LeaseBreak]:
        from opsctl.jobs.call import STATE_DIR
        from opsctl.jobs.lease import break_lease, describe, of_scope, read

        before = of_scope(read(session.reads, STATE_DIR, cancel=session.cancel), scope)
        if dry_run:
            return DropletResult(session.droplet.name, LeaseBreak(before, False, reason.strip()))
        if before.state == "held":
            with asking:
                context.confirm(_question(session.droplet.name, before, describe(before)))
        done = break_lease(
            session.host, before, _entry(context), reason.strip(), state_dir=STATE_DIR, cancel=session.cancel
        )
        return DropletResult(session.droplet.name, done)

    def render(each: DropletResult[LeaseBreak]) -> None:
        from opsctl.render.lease import print_break

        assert each.result is not None
        print_break(each.name, each.result, dry_run=dry_run, redact=context.redact)

    result = context.over(one, reading=dry_run)
    code = finish("lease.break", result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)
    raise typer.Exit(code)


def _question(droplet: str, before: LeaseState, holder: str) -> str:
    return f"The lease `{before.scope}` of {droplet} is held by {holder}.\nEnd it there, with everything it runs?"


def _entry(context: Context) -> Entry:
    from opsctl.spine.audit import Actor, Entry

    started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Entry(context.run_id, context.command_line, "", Actor.current(), started, __version__, name=context.name)


def register(app: typer.Typer) -> None:
    """Add `lease` with its commands."""
    group = typer.Typer(no_args_is_help=True)
    group.command("show")(show)
    group.command("break")(break_)
    help_text = "Who may change a droplet right now, and taking that away."
    app.add_typer(group, name="lease", help=help_text, rich_help_panel=commands.BROKE)
