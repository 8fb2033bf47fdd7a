"""A past run gone on with: its own command is called again, as it was called."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import typer

from opsctl.cli.migrating_options import parse_window, without
from opsctl.cli.process import GoingOn, Process, not_begun


def pace_of(rate: float | None, window: str | None) -> tuple[str, ...]:
    """The words for it. Raises UsageError for a window that is none."""
    if window is not None:
        parse_window(window)
    return (*(("--rate", f"{rate:g}") if rate is not None else ()), *(("--window", window) if window else ()))


def again(ctx: typer.Context, run: str, going_on: GoingOn, more: tuple[str, ...] = ()) -> NoReturn:
    """Call the run's own command as it was called, in the folder in which it was, for another action.

    `more` are options with their values, which take the place of those of the run. Raises UsageError for a run that is
    unknown or works still, OpsError where its folder is gone.
    """
    from opsctl.cli.main import build
    from opsctl.jobs.migration_runs import at_rest
    from opsctl.spine.run_folder import find

    process: Process = ctx.obj
    record = at_rest(find(run), going_on.action)
    argv = (*without(record.argv, more[::2]), *more)
    process.going_on = replace(going_on, run_id=record.run_id, argv=argv)
    app = build(argv)
    word = "resume" if going_on.action == "run" else going_on.action
    why = "nothing of it was begun again, and the run is as it was"
    with not_begun(process, why=why, next=f"opsctl migrate {word} {record.run_id}"):
        code = app(args=list(argv), prog_name="opsctl", standalone_mode=False, obj=process)
    raise typer.Exit(int(code or 0))
