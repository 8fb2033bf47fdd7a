"""The runs of migrations as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from opsctl.model.migrate_shown import MigrationListing, RunControlled, RunExported, RunShown
from opsctl.model.units import show_size
from opsctl.render.migrate import print_receipt
from opsctl.render.migrate_progress import done_of, line_of
from opsctl.render.screen import Screen

_STYLES = {
    "running": "cyan",
    "complete": "green",
    "finished": "green",
    "rolled-back": "dim",
    "partial": "yellow",
    "stopped": "yellow",
    "interrupted": "bold yellow",
    "failed": "bold red",
}


def print_listing(found: MigrationListing) -> None:
    """Write the migrations and the runs to stdout."""
    console = Screen()
    table = _table()
    for name in ("migration", "from", "to", ""):
        table.add_column(name, no_wrap=bool(name))
    for each in found.migrations:
        table.add_row(each.name, each.source, each.sink, Text(each.help, style="dim"))
    console.print(table)
    if found.runs:
        console.print()
        print_runs(found.runs)


def print_runs(runs: Sequence[RunShown]) -> None:
    """Write one line a run to stdout, and under it what to type next."""
    console = Screen()
    if not runs:
        console.print(Text("no migration has run on this machine", style="dim"))
        return
    table = _table()
    table.add_column("run", no_wrap=True)
    table.add_column("migration", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    for each in runs:
        table.add_row(each.run_id, each.migration, Text(each.state, style=_STYLES.get(each.state, "")), _records(each))
    console.print(table)
    for each in (each for each in runs if each.state == "interrupted"):
        console.say(Text(f"interrupted: {each.next[0]}", style="yellow"))


def print_run(run: RunShown, *, redact: Callable[[str], str]) -> None:
    """Write all that is known of one run to stdout."""
    console = Screen()
    head = Text.assemble((run.state, _STYLES.get(run.state, "")), f"  {run.migration}  ", (run.run_id, "dim"))
    if run.progress is None and run.receipt is not None and run.state == run.receipt.outcome:
        print_receipt(run.receipt, redact=redact)
    else:
        console.say(head)
        facts = [("from", run.source), ("to", run.sink), ("begun", run.started), ("folder", run.folder)]
        if run.progress is not None:
            facts.insert(0, ("", line_of(run.progress, run.action).partition(": ")[2]))
        if run.error and run.state == "failed":
            facts.append(("failed", run.error))
        for name, value in facts:
            console.say(Text.assemble((f"  {name:<14}", "dim"), redact(value)))
    for number, each in enumerate(run.next):
        console.whole(Text.assemble(("      " if number else "next  ", "dim"), each))


def print_begun(run: str, droplet: str, *, unit: str, notes: Sequence[str]) -> None:
    """Write to stderr that a run works on a droplet by itself now."""
    console = Screen(stderr=True)
    how = f"as {unit}" if unit else "as a process of its own: there is no systemd that could limit its memory"
    console.say(Text.assemble((run, "bold"), f" runs on {droplet}, {how}"))
    for note in notes:
        console.say(Text(f"note: {note}", style="yellow"))


def print_controlled(done: RunControlled, *, droplet: str = "") -> None:
    """Write what a run was told to stdout."""
    console = Screen()
    there = f" -d {droplet}" if droplet else ""
    if done.told == "pause":
        console.say(Text(f"{done.run_id} waits as soon as its batches are through"))
        console.whole(Text.assemble(("next  ", "dim"), f"opsctl migrate resume {done.run_id}{there}"))
    else:
        console.say(Text(f"{done.run_id} goes on"))
        console.whole(Text.assemble(("next  ", "dim"), f"opsctl migrate attach {done.run_id}{there}"))


def print_exported(done: RunExported) -> None:
    """Write where a run's records went to stdout."""
    console = Screen()
    size = show_size(done.bytes)
    console.say(Text(f"{done.records:,} records of {done.run_id} in {done.path} ({size})"))
    if done.replaced:
        console.print(Text(f"{done.replaced:,} older lines of the same keys were left out", style="dim"))
    if done.sealed:
        console.print(Text("note: the run's own export is encrypted; this file is not", style="yellow"))
    if not done.whole:
        console.print(Text("note: the run works still; this is what it has exported so far", style="yellow"))


def _records(run: RunShown) -> str:
    if run.progress is None:
        return f"{run.receipt.verified_total:,}" if run.receipt is not None else ""
    total = f" of {run.progress.total:,}" if run.progress.total else ""
    return f"{done_of(run.progress.counts, run.action):,}{total}"


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
