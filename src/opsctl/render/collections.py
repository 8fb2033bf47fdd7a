"""Collections and what differs in them, as a person reads them."""

from __future__ import annotations

from rich.text import Text

from opsctl.model.collections import ClosedDay, CollectionsReport, Difference, Doing, LiveCollection
from opsctl.render.screen import Screen

_STATES = {
    "as declared": ("●", "green"),
    "differs": ("◐", "yellow"),
    "missing": ("○", "red"),
    "undeclared": ("·", "dim"),
}
_SIGNS = {
    Doing.CREATE: ("+", "green"),
    Doing.ADD: ("+", "green"),
    Doing.CHANGE: ("~", "yellow"),
    Doing.REFUSE: ("✗", "bold red"),
    Doing.KEEP: ("·", "dim"),
}


def print_collections(report: CollectionsReport, *, applied: bool) -> None:
    """Write each collection, and under it what differs, to stdout."""
    console = Screen()
    head = Text.assemble((f"Weaviate {report.version}", "bold"), f"  {report.server}", (f"  {report.file}", "dim"))
    console.say(head)
    for each in report.collections:
        console.say(_collection(each, now=" now" if any(one.done for one in each.differences) else ""))
        for one in each.differences:
            console.say(_difference(one))
    console.say(_verdict(report, applied=applied))


def _collection(each: LiveCollection, now: str) -> Text:
    sign, style = _STATES.get(each.state, ("?", ""))
    line = Text.assemble((sign, style), " ", (f"{each.name:<12}", "bold"), f" {each.state}{now}")
    facts = [_objects(each.objects)]
    if each.multi_tenant:
        states = ", ".join(f"{count} {state.lower()}" for state, count in sorted(each.tenants.items()))
        facts.append(f"tenants: {states or 'none'}")
    facts += [f"vector {vector}" for vector in each.vectors]
    return line.append("  " + " · ".join(filter(None, facts)), style="dim")


def _objects(count: int | None) -> str:
    return "" if count is None else "1 object" if count == 1 else f"{count:,} objects"


def _difference(each: Difference) -> Text:
    sign, style = _SIGNS[each.doing]
    line = Text.assemble("    ", (sign, style), f" {each.path or each.collection}")
    if each.doing is Doing.KEEP:
        return line.append(f"  {each.live}, not in the file: left alone", style="dim")
    if each.doing in (Doing.CREATE, Doing.ADD):
        line.append(f"  {each.declared}")
    else:
        line.append(f"  {each.live or 'nothing'} → {each.declared or 'nothing'}")
    if each.done:
        line.append("  done", style="green")
    if each.why:
        line.append(f"\n        {each.why}", style="dim")
        line.append(f"\n        instead: {each.next}")
    return line


def _verdict(report: CollectionsReport, *, applied: bool) -> Text:
    refused = f", {report.refused} cannot be changed in place" if report.refused else ""
    if applied:
        would = "would be changed" if report.dry_run else "changed"
        return Text(f"{report.changed} {would}{refused}" if report.changed or refused else "unchanged", style="dim")
    todo = sum(
        one.doing in (Doing.CREATE, Doing.ADD, Doing.CHANGE) for each in report.collections for one in each.differences
    )
    if todo:
        return Text(f"{todo} to do: opsctl collections apply{refused}", style="yellow")
    return Text(f"nothing to do{refused}", style="dim")


def print_closed(closed: ClosedDay) -> None:
    """Write what became of a day to stdout."""
    console = Screen()
    day = f"{closed.tenant[:4]}-{closed.tenant[4:6]}-{closed.tenant[6:]}"
    said = {
        "closed": f"closed: its tenant is {closed.state}",
        "unchanged": f"unchanged: its tenant is {closed.state} already",
        "would-close": f"would be closed: its tenant would be {closed.state}",
    }[closed.outcome]
    line = Text.assemble((f"{closed.collection} {day}", "bold"), f"  {said}")
    line.append(f"  {_objects(closed.objects)}", style="dim")
    console.say(line)
    if closed.summary and closed.characters:
        console.say(Text(f"summary: {closed.summary}, {closed.characters:,} characters"))
    for note in closed.notes:
        console.say(Text(note, style="dim"))
