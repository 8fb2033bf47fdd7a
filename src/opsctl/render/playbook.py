"""Playbooks as a person reads them: which there are, what one does, what a run did."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from opsctl.model.playbook_run import PlaybookListing, PlaybookReport, ShownPlaybook, ShownStep, Status, StepReport
from opsctl.model.units import show_duration
from opsctl.render.screen import Screen

_MARKS: dict[Status, tuple[str, str]] = {
    "changed": ("✓", "green"),
    "unchanged": ("·", "dim"),
    "approved": ("✓", "green"),
    "skipped": ("–", "yellow"),
    "failed": ("✗", "bold red"),
    "interrupted": ("✗", "yellow"),
    "waiting": ("?", "bold yellow"),
    "open": (" ", "dim"),
    "would change": ("+", "green"),
    "would ask": ("?", "yellow"),
    "unknown": ("…", "yellow"),
}
_STATES = {
    "running": "cut short",
    "done": "done",
    "failed": "failed",
    "waiting": "waits for a person",
    "interrupted": "interrupted",
    "rolling back": "taken back in part",
    "rolled back": "taken back",
}


def print_listing(droplet: str, listing: PlaybookListing, *, paths: bool = False, redact: Callable[[str], str]) -> None:
    """Write every playbook, and the runs where they were asked for."""
    console = Screen()
    if listing.runs is None:
        console.print(_playbooks(listing, paths=paths) if listing.playbooks else Text("no playbooks"))
        return
    if not listing.runs:
        console.print(Text(f"{droplet} remembers no run of a playbook"))
        return
    console.print(Text(droplet, style="bold"))
    for run in listing.runs:
        done = f"  {_STATES[run.state]}, {run.done} of {run.steps} steps"
        head = (f"  {run.run}  ", ""), (run.playbook, "bold"), done
        console.say(Text.assemble(*head, (f"  begun {run.began} by {redact(run.by)}", "dim")))


def _playbooks(listing: PlaybookListing, *, paths: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("playbook", no_wrap=True, style="bold")
    table.add_column("title", overflow="fold")
    table.add_column("steps", justify="right", no_wrap=True)
    if paths:
        table.add_column("file", overflow="fold", style="dim")
    for book in listing.playbooks:
        said = Text(f"✗ {book.problem}", style="red") if book.problem else Text(book.title)
        table.add_row(book.name, said, "" if book.problem else str(book.steps), *([book.file] if paths else []))
    return table


def print_playbook(book: ShownPlaybook) -> None:
    """Write what a playbook does."""
    console = Screen()
    console.say(Text.assemble((book.name, "bold"), f"  {book.title}"))
    console.say(Text(f"{book.file} · {book.digest}", style="dim"))
    if book.about:
        console.print(Text(f"\n{book.about}"))
    if book.variables:
        table = _table("variable", "type", "value", "")
        for each in book.variables:
            value = Text("has to be given", style="yellow") if each.required else Text(each.value)
            table.add_row(each.name, each.kind, value, Text(each.about, style="dim"))
        console.print()
        console.print(table)
    console.print()
    for number, step in enumerate(book.steps, 1):
        _step(console, number, step, book.steps[number - 2].id if number > 1 else "")


def _step(console: Screen, number: int, step: ShownStep, before: str) -> None:
    where = f"  on {step.droplet}" if step.droplet else ""
    console.say(Text.assemble(f"{number:>2} ", (step.id, "bold"), where, f"  {step.title}"))
    wanted = (before,) if before else ()
    lines = [("needs", ", ".join(step.needs) or "nothing: it begins at once")] if step.needs != wanted else []
    lines += [("only if", each) for each in step.precondition]
    lines += [("does", step.does)] if step.does != step.title else []
    lines += [("proves", each) for each in step.probe]
    lines += [("undo", step.undo)] if step.undo else []
    for label, text in lines:
        console.say(Text.assemble((f"     {label:<8} ", "dim"), text))


def print_report(report: PlaybookReport, *, redact: Callable[[str], str]) -> None:
    """Write how a run went, or would go."""
    console = Screen()
    for step in report.steps:
        _reported(console, step, redact)
    for note in report.notes if not report.dry_run else ():
        console.say(Text(f"note: {note}", style="yellow"))
    count: dict[str, int] = {}
    for step in report.steps:
        count[step.status] = count.get(step.status, 0) + 1
    parts = [f"{number} {'not begun' if word == 'open' else word}" for word, number in count.items()]
    head = f"{report.playbook}: " + ("nothing was changed (dry run)" if report.dry_run else _STATES[report.state])
    console.print()
    console.say(Text.assemble((head, "bold"), f"  {' · '.join(parts)}"))
    if not report.dry_run:
        console.print(Text(f"run {report.run}", style="dim"))


def _reported(console: Screen, step: StepReport, redact: Callable[[str], str]) -> None:
    mark, style = _MARKS[step.status]
    took = f"  {show_duration(step.seconds)}" if step.seconds >= 0.05 else ""
    console.say(
        Text.assemble(
            (f"{mark} ", style),
            (step.id, "bold"),
            f"  {step.status if step.status != 'open' else 'not begun'}",
            (f"  {redact(step.detail)}" if step.detail else "", "dim"),
            (took, "dim"),
        )
    )
    for line in step.plan:
        console.say(Text(f"    {redact(line)}", style="dim"))
    if step.after and step.status in ("would change", "unchanged", "failed"):
        come = "comes" if len(step.after) == 1 else "come"
        text = f"    as things are now; {', '.join(step.after)} {come} first and may change that"
        console.say(Text(text, style="yellow"))


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
