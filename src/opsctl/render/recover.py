"""How a droplet came back, or did not, as people read it."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from opsctl.model.events import Outcome
from opsctl.model.recovery import Climb, Criterion, Recovery
from opsctl.model.units import show_duration
from opsctl.render.screen import Screen, screen_width

_MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("?", "yellow")}
_OUTCOMES = {
    Outcome.CHANGED: ("✓", "green"),
    Outcome.UNCHANGED: ("·", "dim"),
    Outcome.FAILED: ("✗", "bold red"),
    Outcome.SKIPPED: ("–", "yellow"),
    None: ("→", "cyan"),
}


def print_recovery(found: Recovery, *, redact: Callable[[str], str]) -> None:
    """Write the report to stdout: what was wrong, what was done, what holds now."""
    console = Screen()
    console.say(_head(found))
    width = screen_width(console)
    for line in wrong(found):
        console.say(Text(f"  {redact(line)}"))
    if found.climbs:
        console.say(Text("\nwould do, until it helps" if found.dry_run else "\ndone", style="bold"))
        for climb in found.climbs:
            console.say(_climb(climb, redact))
    if found.criteria:
        console.say(Text("\ncriteria" + (" (now)" if found.dry_run else ""), style="bold"))
        console.print(_criteria(found.criteria, redact, width))
    _services(console, found, redact)
    for line in found.advice[1:] if not found.recovered else found.advice:
        console.whole(Text.assemble(("next  ", "dim"), redact(line)))


def _head(found: Recovery) -> Text:
    text, good = headline(found)
    return Text.assemble((f"{found.droplet}: ", "bold"), (text, "bold green" if good else "bold red"))


def headline(found: Recovery) -> tuple[str, bool]:
    """One sentence, and whether it is a good one."""
    took = show_duration(found.seconds)
    if found.dry_run:
        return (
            "nothing to recover" if found.recovered else "not as it should be; nothing was changed"
        ), found.recovered
    if not found.recovered:
        return f"has not recovered ({took})", False
    if not found.climbs:
        return f"nothing to recover: every criterion holds ({took})", True
    booted = ", with a new boot" if found.boot_after and found.boot_after != found.boot_before else ""
    return f"recovered in {took}{booted}", True


def wrong(found: Recovery) -> tuple[str, ...]:
    """What was wrong, in sentences: by the look before, else by the one after."""
    if found.before is not None and found.before.verdict != "ok":
        said = found.before.answer
        return (f"What was wrong: {said[0]}", *said[1:]) if said and found.recovered and not found.dry_run else said
    if found.before is None and found.after is not None:
        reason = found.unreachable.why or found.unreachable.what if found.unreachable else ""
        first = (f"It did not answer{f' ({reason})' if reason else ''}. What its kernel says now:",)
        return (*first, *found.after.answer)
    if found.unreachable is not None:
        return (f"It does not answer: {found.unreachable.why or found.unreachable.what}.",)
    return found.after.answer if found.after is not None and found.after.kills else ()


def _climb(climb: Climb, redact: Callable[[str], str]) -> Text:
    mark, style = _OUTCOMES[climb.outcome]
    took = f"  {show_duration(climb.seconds)}" if climb.seconds >= 0.05 else ""
    detail = "" if climb.outcome is None else f"  {redact(climb.detail)}"
    return Text.assemble("  ", (mark, style), f" {redact(climb.title)}", (detail, "dim"), (took, "dim"))


def _criteria(criteria: tuple[Criterion, ...], redact: Callable[[str], str], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, width=width or None)
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    # On a screen what is wanted and what was seen wrap in columns of their own; piped, a line is a criterion.
    table.add_column("", style="dim", no_wrap=not width)
    table.add_column("", overflow="fold", ratio=1 if width else None)
    for each in criteria:
        mark, style = _MARKS[each.ok]
        level = "" if each.level == "minimum" else " (optimal)"
        table.add_row(Text(f"  {mark}", style=style), each.name, each.wanted + level, Text(redact(each.seen)))
    return table


def _services(console: Screen, found: Recovery, redact: Callable[[str], str]) -> None:
    if found.back:
        console.say(Text.assemble(("\nup        ", "dim"), ", ".join(found.back)))
    alike: dict[tuple[str, str], list[str]] = {}
    for each in found.missing:
        way = each.next if each.service not in each.next.split() else ""
        alike.setdefault((each.why, way), []).append(each.service)
    for number, ((why, way), names) in enumerate(alike.items()):
        head = "not up    " if number == 0 else "          "
        shown = way or next(each.next for each in found.missing if each.service == names[0])
        console.say(Text.assemble((head, "dim"), f"{', '.join(names)}: {redact(why)}", (f"   {shown}", "dim")))
