"""What `opsctl cron` prints."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from opsctl.model.cron import CronChanged, CronListed, CronRun, CronState
from opsctl.model.events import Outcome
from opsctl.render.screen import Screen

_MARKS = {"done": ("✓", "green"), "skipped": ("–", "yellow"), "failed": ("✗", "red"), "deadline": ("✗", "red")}


def print_listed(name: str, found: CronListed) -> None:
    """The jobs of one droplet."""
    console = Screen()
    by = {"systemd": "systemd timers", "cron": "/etc/cron.d"}.get(found.scheduler, "nothing there runs jobs")
    console.print(Text.assemble((name, "bold"), f"  {by}"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("job", "runs", "last", "took", "next"):
        table.add_column(head, overflow="fold")
    for each in found.jobs:
        table.add_row(each.job, _when(each), _last(each), _took(each), each.next or "–")
    console.print(table)
    for each in found.jobs:
        if each.outcome in ("failed", "deadline") and each.said:
            console.print(Text(f"  {each.job}: {each.said}", "red"))
    for note in found.notes:
        console.print(Text(f"  {note}", "yellow"))


def print_ran(name: str, ran: CronRun) -> None:
    """One run that was asked for."""
    console = Screen()
    mark, style = _MARKS[ran.outcome]
    console.print(
        Text.assemble((f"{mark} ", style), (name, "bold"), f"  {ran.job}: {ran.outcome}, {ran.seconds:.1f} s")
    )
    for line in ran.output.splitlines():
        console.print(Text(f"  {line}"))


def print_changed(name: str, changed: CronChanged) -> None:
    """What was put there or taken away."""
    console = Screen()
    steps = changed.plan["steps"]
    if not steps:
        console.print(Text.assemble((name, "bold"), "  nothing to do: it is so already"))
    for number, step in enumerate(steps):
        done = changed.run.steps[number] if changed.run is not None else None
        mark, style = (
            ("would", "cyan") if done is None else ("✓", "green") if done.outcome is Outcome.CHANGED else ("✗", "red")
        )
        console.print(Text.assemble((name, "bold"), (f"  {mark} ", style), step["title"]))
        for path in (*step["action"].get("files", {}), *step["action"].get("paths", ())) if changed.dry_run else ():
            console.print(Text(f"    {path}", "dim"))
    for note in changed.notes:
        console.print(Text(f"  {note}", "yellow"))


def _when(each: CronState) -> Text:
    if not each.installed:
        return Text("not installed", "dim")
    return Text(each.when) if each.active else Text(f"{each.when} (stopped)", "red")


def _last(each: CronState) -> Text:
    if not each.outcome:
        return Text("–", "dim")
    mark, style = _MARKS.get(each.outcome, ("?", "yellow"))
    return Text(f"{mark} {each.outcome} {each.last}", style)


def _took(each: CronState) -> str:
    return "–" if each.seconds is None else f"{each.seconds:.0f} s"
