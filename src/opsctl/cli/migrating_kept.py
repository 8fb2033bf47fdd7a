"""What runs leave behind: `migrate export` makes a table of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import migrating_away as away
from opsctl.cli.context import Context
from opsctl.cli.options import JsonOption, StackOption, VerboseOption
from opsctl.cli.output import finish as leave
from opsctl.model.errors import ConfigError, OpsError
from opsctl.model.result import CommandResult, DropletResult

if TYPE_CHECKING:
    from opsctl.model.migrate_run import Cipher
    from opsctl.model.migrate_shown import RunExported, RunShown

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run of `migrate list`, by the beginning of its id, or last.")
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "-d", "--droplet", metavar="NAME", help="A run that works on this droplet (`--on`).", rich_help_panel="Where"
    ),
]


def export(
    ctx: typer.Context,
    run: RunArgument,
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE", help="Where to write it: FILE.csv or FILE.jsonl, on this machine.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplet: OnOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Write the records of a run's export to a CSV or JSON lines file.

    Each record once, as the source had it when it was copied last: its key, its
    id and group at the target, both fingerprints, and the record as JSON, which is
    what a rollback restores. The file holds the data itself; it is yours alone
    (0600). Changes nothing anywhere else.
    """
    from opsctl.jobs import migrate_export
    from opsctl.jobs.migration_runs import WORKING
    from opsctl.model.migrate_shown import RunExported

    context = Context(ctx, stack=stack, droplets=[droplet] if droplet else None, verbose=verbose)
    to = to.expanduser()
    kind = migrate_export.format_of(to)
    migrate_export.check_new(to, force=force)
    with _exported(context, run, droplet, beside=to) as (now, path, begun_with):
        cipher = _cipher(context, now, stack or begun_with) if now.sealed else None
        done = migrate_export.write(path, to, force=force, cancel=context.cancel, cipher=cipher)
    whole = now.state not in WORKING
    found = RunExported(now.run_id, str(to), kind, done.records, done.replaced, done.bytes, whole, bool(now.sealed))

    def render(_: DropletResult[RunExported]) -> None:
        from opsctl.render.migrate_runs import print_exported

        print_exported(found)

    result = CommandResult((DropletResult(droplet or "", found),))
    raise typer.Exit(leave("migrate.export", result, as_json=as_json, render=render, redact=context.redact))


@contextmanager
def _exported(
    context: Context, run: str, droplet: str | None, *, beside: Path
) -> Iterator[tuple[RunShown, Path, Path | None]]:
    """The run, its export on this machine, and the stack file it was begun with. Raises OpsError where it has none."""
    if droplet is not None:
        with away.export(context, run) as (now, lines), tempfile.TemporaryDirectory(dir=beside.parent) as folder:
            copy = Path(folder) / "export.jsonl"
            with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as into:
                into.writelines(line.encode() + b"\n" for line in lines)
            _there(copy, now, f" -d {droplet}")
            yield now, copy, None
        return
    from opsctl.jobs.migration_runs import shown
    from opsctl.spine.run_folder import find

    kept = find(run)
    now = shown(kept)
    _there(kept.path / "export.jsonl", now, "")
    record = kept.record()
    yield now, kept.path / "export.jsonl", Path(record.stack) if record is not None and record.stack else None


def _cipher(context: Context, now: RunShown, stack: Path | None) -> Cipher:
    """What opens the export. Raises ConfigError where the stack file does not have its key any more."""
    from opsctl.cli.stores import cipher_of
    from opsctl.model.stackfile_load import read_found

    given = read_found(stack, learn=context.redact.learn).stores.get(now.sealed, {})
    if "export_key" in given:
        return cipher_of(given["export_key"], now.sealed)
    raise ConfigError(
        f"the export of {now.run_id} is encrypted, and its key is not there",
        why=f"stores.{now.sealed} has no export_key in the stack file",
        next=f"put the key of that time back: stores.{now.sealed}.export_key   (or --stack FILE)",
        code="export-key",
    )


def _there(path: Path, now: RunShown, there: str) -> None:
    if path.is_file() and path.stat().st_size:
        return
    raise OpsError(
        f"{now.run_id} has exported nothing",
        why="it copied no record, or its export was moved away",
        next=f"opsctl migrate status {now.run_id}{there}",
        code="no-export",
    )


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command()(export)
