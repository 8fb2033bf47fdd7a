"""`migrate prune`: folders of past runs that nothing can need any more are removed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl import __version__
from opsctl.cli import migrating_away as away
from opsctl.cli.context import Context
from opsctl.cli.migrating_kept import OnOption
from opsctl.cli.options import DryRunOption, JsonOption, StackOption, VerboseOption, YesOption
from opsctl.cli.output import finish as leave
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.model.migrate_pruned import Pruned
    from opsctl.model.migrate_shown import RunRecord


def prune(
    ctx: typer.Context,
    keep_days: Annotated[
        float, typer.Option("--keep-days", metavar="N", min=0, help="Leave what ended less than N days ago.")
    ] = 30,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Remove the folders of past runs, with their exports, when they are old enough.

    A run stays while it works, while it was cut short, while something is in its
    quarantine, while nobody has finished the newest copy of its kind, and, after
    a finish, for the N days in which its export is the way back. On a droplet
    the versions of opsctl that others have replaced go, too. What would go, what
    stays and why is shown first; ledgers stay: they make the next run cheap.
    """
    context = Context(ctx, stack=stack, droplets=[droplet] if droplet else None, yes=yes, verbose=verbose)
    if droplet is not None:
        with away.on_droplet(context) as session:
            done = away.pruned(context, session, keep_days, dry_run=True)
            if not _idle(context, done, dry_run, where=f" on {droplet}", as_json=as_json):
                done = away.pruned(context, session, keep_days, dry_run=False)
    else:
        done = _here(context, keep_days, dry_run=dry_run, as_json=as_json)

    def render(_: DropletResult[Pruned]) -> None:
        from opsctl.render.migrate_pruned import print_pruned

        print_pruned(done)

    result = CommandResult((DropletResult(droplet or "", done),))
    raise typer.Exit(leave("migrate.prune", result, as_json=as_json, render=render, redact=context.redact))


def _here(context: Context, keep_days: float, *, dry_run: bool, as_json: bool) -> Pruned:
    from opsctl.cli.migrating_hold import locked, written_here
    from opsctl.jobs import migrate_prune
    from opsctl.spine.audit import Actor, Entry
    from opsctl.spine.run_folder import migrations

    wanted = migrate_prune.plan(migrations(), keep_days)
    if _idle(context, wanted, dry_run, where="", as_json=as_json):
        return wanted
    started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    entry = Entry(context.run_id, context.command_line, "", Actor.current(), started, __version__, name=context.name)

    def lock(record: RunRecord) -> AbstractContextManager[None]:
        return locked(Path(record.ledger), entry) if record.ledger else nullcontext()

    with written_here(entry):
        return migrate_prune.prune(migrations(), wanted, lock, context.cancel)


def _idle(context: Context, wanted: Pruned, dry_run: bool, *, where: str, as_json: bool) -> bool:
    """Whether it ends with the plan. Asks before anything is removed; raises UsageError where nobody can be asked."""
    if dry_run or not wanted.removed:
        return True
    from opsctl.model.units import show_size

    if not context.yes and context.on_terminal and not as_json:
        from opsctl.render.migrate_pruned import print_pruned

        print_pruned(wanted)
    runs = sum(1 for each in wanted.removed if each.kind == "run")
    names = [f"{runs:,} runs with their exports" if runs > 1 else "1 run with its export"] if runs else []
    apps = len(wanted.removed) - runs
    names += [f"{apps} version{'s' if apps != 1 else ''} of opsctl"] if apps else []
    context.confirm(f"Remove {' and '.join(names)}{where} ({show_size(wanted.freed)})? There is no way back.")
    return False


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command()(prune)
