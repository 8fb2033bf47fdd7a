"""opsctl on a droplet, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from opsctl.model.events import Outcome
from opsctl.model.host import HostChanged, HostStatus
from opsctl.model.units import show_duration, show_size
from opsctl.render.screen import Screen

_STYLES = {Outcome.CHANGED: "green", Outcome.UNCHANGED: "dim", Outcome.FAILED: "bold red", Outcome.SKIPPED: "yellow"}


def print_host(droplet: str, status: HostStatus, *, redact: Callable[[str], str]) -> None:
    """Write what there is of opsctl on one droplet to stdout."""
    console = Screen()
    good = bool(status.there) and not status.problems
    mark = ("● ", "green") if good else ("● ", "yellow") if status.installed else ("○ ", "dim")
    told = f"opsctl {status.there}" if status.there else "opsctl does not answer" if status.installed else "no opsctl"
    console.say(Text.assemble(mark, (droplet, "bold"), f"  {told} there, {status.here} here"))
    for name, value in _facts(status):
        console.say(Text.assemble((f"  {name:<9}", "dim"), redact(value)))
    for problem in status.problems:
        console.say(Text(f"  {redact(problem)}", style="yellow"))
    if status.next:
        console.whole(Text.assemble(("  next     ", "dim"), (status.next, "bold")))


def _facts(status: HostStatus) -> list[tuple[str, str]]:
    facts = [("python", status.python)]
    if status.installed:
        facts.append(("app", f"{status.app or 'none in use'}: {_measure(status)}"))
    facts += [("file", f"{each.path}  ({each.mode}, {show_size(each.size)})") for each in status.files]
    facts += [("unit", f"{each.name}  {each.enabled}, {each.active}") for each in status.units]
    if status.boot == "replay":
        facts.append(("boot", f"opsctl brings up: {', '.join(status.up) or 'nothing yet'}"))
        kept = ", ".join(f"{name} {policy}" for name, policy in sorted(status.policies.items()))
        facts.append(("policies", f"of before, to be given back: {kept or 'none'}"))
    elif status.installed:
        facts.append(("boot", "Docker starts the containers, as their restart policies say"))
    if status.hold:
        facts.append(("hold", f"nothing is brought up after a boot: {status.hold}"))
    return [(name, value) for name, value in facts if value]


def _measure(status: HostStatus) -> str:
    compiled = f"; {show_size(status.disk)} on disk, with what Python compiled"
    return f"{status.count} files, {show_size(status.size)}{compiled if status.disk else ''}"


def print_host_changed(droplet: str, changed: HostChanged, *, redact: Callable[[str], str], many: bool = False) -> None:
    """Write what was put there or removed, or would be, to stdout."""
    console = Screen()
    if many:
        console.say(Text(droplet, style="bold"))
    steps = changed.plan["steps"]
    if changed.run is not None:
        for step in changed.run.steps:
            took = show_duration(step.seconds) if step.seconds >= 0.05 else ""
            word = Text(f"{step.outcome.value:<10}", style=_STYLES[step.outcome])
            console.say(Text.assemble(word, redact(step.title), (f"  {took}", "dim")))
    else:
        for step in steps:
            console.say(Text(redact(step["title"])))
    removing = changed.plan["command"] == "host remove"
    if removing and (changed.dry_run or not steps):
        _listed(console, changed)
    for note in changed.notes:
        console.say(Text(f"note: {redact(note)}", style="yellow"))
    if changed.dry_run:
        text = f"plan {changed.plan['id']}: nothing was changed (dry run)" if steps else "nothing to do"
        console.say(Text(text, style="bold"))
    elif not steps:
        console.say(Text("nothing to do" if removing else f"unchanged: {changed.app} is there", style="bold"))


def _listed(console: Screen, changed: HostChanged) -> None:
    for each in changed.files:
        console.say(Text(f"  file  {each.path}  ({each.mode}, {show_size(each.size)})"))
    for unit in changed.units:
        console.say(Text(f"  unit  {unit}"))
    for folder in (each for step in changed.plan["steps"] for each in step["action"].get("folders", ())):
        console.say(Text(f"  all of {folder}"))
    if changed.kept:
        console.say(
            Text(
                f"  stays, for it says who did what, or came without an installation: {', '.join(changed.kept)}",
                style="dim",
            )
        )
