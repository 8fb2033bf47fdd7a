"""What is done through the provider, before and after, on the screen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text

from opsctl.model.cloud import CloudRecord
from opsctl.model.droplet import CloudChanged, Cost, Names
from opsctl.model.events import Outcome
from opsctl.model.run import RunResult
from opsctl.model.units import show_duration
from opsctl.render.droplet import money, ram, table
from opsctl.render.screen import Screen

_MARKS = {
    Outcome.CHANGED: ("✓", "green"),
    Outcome.UNCHANGED: ("·", "dim"),
    Outcome.FAILED: ("✗", "bold red"),
    Outcome.SKIPPED: ("–", "yellow"),
}


def print_proposal(name: str, costs: Sequence[Cost], notes: Sequence[str], *, redact: Callable[[str], str]) -> None:
    """Write to stderr what it costs, before the question."""
    console = Screen(stderr=True)
    if costs or notes:
        console.say(Text(name, style="bold"))
    _costs(console, costs)
    for note in notes:
        console.say(Text(f"  note: {redact(note)}", style="yellow"))


def _costs(console: Screen, costs: Sequence[Cost]) -> None:
    for each in costs:
        most = "at most " if each.most else ""
        sign = "-" if each.price < 0 else ""
        console.say(Text(f"  {each.what}: {sign}{most}{money(abs(each.price))}"))
    if len(costs) == 2 and costs[0].what.endswith(" now"):
        more = costs[1].price - costs[0].price
        console.say(Text(f"  difference: {'+' if more >= 0 else '-'}{money(abs(more))}", style="bold"))


def print_steps(plan: Mapping[str, Any], notes: Sequence[str], *, redact: Callable[[str], str]) -> None:
    """Write to stderr what would be done."""
    console = Screen(stderr=True)
    for step in plan["steps"]:
        console.say(Text(f"  {redact(step['title'])}"))
    for note in notes:
        console.say(Text(f"  note: {redact(note)}", style="yellow"))


def print_changed(name: str, changed: CloudChanged, *, redact: Callable[[str], str], many: bool = False) -> None:
    """Write what was done, or would be."""
    console = Screen()
    if many:
        console.say(Text(name, style="bold"))
    if changed.dry_run:
        _plan(console, changed, redact)
    elif changed.run is not None:
        _run(console, changed.run, redact)
    for note in changed.notes:
        console.say(Text(f"note: {redact(note)}", style="yellow"))
    if not changed.dry_run and changed.run is None:
        console.say(Text("nothing to do", style="bold"))
    _state(console, changed)


def _plan(console: Screen, changed: CloudChanged, redact: Callable[[str], str]) -> None:
    for step in changed.plan["steps"]:
        mark = ("! ", "yellow") if step["destructive"] else ("  ", "")
        console.say(Text.assemble(mark, redact(step["title"])))
    _costs(console, changed.costs)
    doing = f"plan {changed.plan['id']}: nothing was changed (dry run)" if changed.plan["steps"] else "nothing to do"
    console.say(Text(doing, style="bold"))


def _run(console: Screen, run: RunResult, redact: Callable[[str], str]) -> None:
    # On a terminal what was done stands there already, as it went.
    seen = console.is_terminal and sys.stderr.isatty()
    for step in run.steps:
        if seen and step.outcome is not Outcome.SKIPPED:
            continue
        took = f"  {show_duration(step.seconds)}" if step.seconds >= 0.05 else ""
        console.say(
            Text.assemble(
                "  ", _MARKS[step.outcome], f" {redact(step.title)}", (f"  {redact(step.detail)}{took}", "dim")
            )
        )
    if run.undone:
        console.say(Text("taken back: the droplet was switched on again", style="yellow"))


def _state(console: Screen, changed: CloudChanged) -> None:
    if changed.droplet is not None and not changed.dry_run:
        it = changed.droplet
        text = f"{it.name}: {it.status}, {it.size} ({ram(it.memory)}), {money(it.price)}"
        console.say(Text(text, style="" if it.status == "active" else "bold yellow"))


def print_names(names: Names) -> None:
    """Write DNS records, and what could be put back."""
    console = Screen()
    made = table("name", "type", "value", ">TTL", "number")
    for each in sorted(names.records, key=lambda record: (record.domain, record.name, record.type, record.data)):
        made.add_row(each.host, each.type, _value(each), f"{each.ttl} s", str(each.id))
    console.print(made if names.records else Text("no records"))
    for change in names.kept:
        was = f"{_value(change.before)}, TTL {change.before.ttl}" if change.before else "nothing"
        console.say(
            Text(
                f"changed {change.at}: {change.after.host} {change.after.type} was {was}"
                f"   (opsctl droplet dns restore {change.after.host} {change.after.type})",
                style="dim",
            )
        )


def _value(record: CloudRecord) -> str:
    return f"{record.priority} {record.data}" if record.priority is not None else record.data
