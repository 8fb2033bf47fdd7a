"""What a run did, or would do, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.table import Table
from rich.text import Text

from opsctl.model.events import Outcome
from opsctl.model.operate import Diagnosis
from opsctl.model.run import Changed, ServiceReport, StepResult
from opsctl.model.units import show_duration, show_size
from opsctl.render.screen import Screen

_WORDS = {
    Outcome.CHANGED: ("changed", "green"),
    Outcome.UNCHANGED: ("unchanged", "dim"),
    Outcome.FAILED: ("failed", "bold red"),
    Outcome.SKIPPED: ("skipped", "yellow"),
}
_OOM = {"limit": "yes, by its own limit", "host": "yes, the host ran out", "unknown": "yes"}


def print_changed(droplet: str, changed: Changed, *, redact: Callable[[str], str], many: bool = False) -> None:
    """Write the summary of one droplet to stdout, and what is known about failures to stderr, redacted."""
    console = Screen()
    if many:
        console.say(Text(droplet, style="bold"))
    if changed.dry_run:
        _plan(console, changed)
    elif changed.run is not None:
        console.print(_services(changed, redact))
        console.say(_foot(changed))
        _failures(changed.run.steps, redact)
    for note in changed.notes:
        console.say(Text(f"note: {note}", style="yellow"))


def _services(changed: Changed, redact: Callable[[str], str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("phase", justify="right")
    table.add_column("service", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", overflow="fold", style="dim")
    before = 0
    for each in changed.services:
        table.add_row(*_row(each, "" if each.phase == before else str(each.phase)), Text(redact(each.detail)))
        before = each.phase
    return table


def _row(each: ServiceReport, phase: str) -> tuple[str, str, Text, str]:
    word, style = _WORDS[each.outcome] if each.outcome else ("", "")
    took = show_duration(each.seconds) if each.seconds >= 0.05 else ""
    return phase, each.service, Text(word, style=style), took


def _foot(changed: Changed) -> Text:
    assert changed.run is not None
    count = {outcome: sum(1 for each in changed.services if each.outcome is outcome) for outcome in Outcome}
    parts = [f"{number} {_WORDS[outcome][0]}" for outcome, number in count.items() if number]
    if changed.run.undone:
        titles = {step.id: step.title for step in changed.run.steps}
        parts.append(f"taken back: {', '.join(titles.get(each, each) for each in changed.run.undone)}")
    parts.append(f"{show_size(changed.memory_available)} of {show_size(changed.memory_total)} memory available")
    parts.append(show_duration(changed.run.seconds))
    return Text("\n" + " · ".join(parts))


def _plan(console: Screen, changed: Changed) -> None:
    steps = changed.plan["steps"]
    doing = [step for step in steps if step["action"]["kind"] != "keep"]
    kept = [step["service"] for step in steps if step["action"]["kind"] == "keep"]
    if doing:
        now = f"{show_size(changed.memory_available)} of {show_size(changed.memory_total)} memory available now"
        console.say(Text(now, style="dim"))
    _steps(console, doing, _rooms(doing, changed.memory_available))
    if kept:
        console.say(Text(f"unchanged: {', '.join(kept)}", style="dim"))
    text = "nothing to do" if not doing else f"plan {changed.plan['id']}: nothing was changed (dry run)"
    console.say(Text(text, style="bold"))


def _steps(console: Screen, doing: list[dict[str, Any]], rooms: dict[int, str]) -> None:
    """By phase; what is created has a heading of its own, because it is created for several of them."""
    made = [step for step in doing if step["action"]["kind"] == "create"]
    if made:
        console.say(Text("containers", style="bold"))
    for step in made:
        when = "   (while what starts first comes up)" if step["action"]["after"] else ""
        console.say(Text(f"  {step['title']}{when}"))
    phase, behind = 0, False
    for step in (each for each in doing if each not in made):
        if step["phase"] and step["phase"] < phase and not behind:
            behind = True  # what a deploy makes anew and leaves stopped comes after all phases
            console.say(Text("afterwards", style="bold"))
        elif step["phase"] > phase:
            phase = step["phase"]
            room = (f"  {rooms[phase]}", "dim") if phase in rooms else ""
            console.say(Text.assemble((f"phase {phase}", "bold"), room))
        console.say(Text(f"  {step['title']}{_memory(step['action'])}"))


def _rooms(doing: list[dict[str, Any]], available: int) -> dict[int, str]:
    """A phase → whether it fits by the figures known now; nothing where the plan stops something first."""
    if any(step["action"]["kind"] == "stop" for step in doing):
        return {}
    left, found = available, dict[int, str]()
    goes = {ident for step in doing if step["action"]["kind"] == "room" for ident in step["action"]["replaces"]}
    # What is recreated while it runs gives back about what its successor takes.
    instead = {
        step["service"]
        for step in doing
        if step["action"]["kind"] == "recreate" and step["action"]["container"] in goes
    }
    gates = [step for step in doing if step["action"]["kind"] == "memory"]
    for phase in dict.fromkeys(step["phase"] for step in gates):
        begin, short = left, ""
        here = [step["action"] for step in gates if step["phase"] == phase]
        for gate in here:
            left -= sum(each["bytes"] for each in gate["expected"] if each["service"] not in instead)
            if left < gate["reserve"] and not short:
                names = ", ".join(each["service"] for each in gate["expected"])
                short = f"{show_size(gate['reserve'] - left)} short for {names}"
        reserve = show_size(gate["reserve"])
        more = " more" if any(each["service"] in instead for gate in here for each in gate["expected"]) else ""
        text = (
            f"needs {show_size(begin - left)}{more} + {reserve} reserve, about {show_size(max(begin, 0))} left by then"
        )
        found[phase] = f"{text}: {short or 'fits'}"
    return found


def _memory(action: dict[str, Any]) -> str:
    if action["kind"] != "memory":
        return ""
    parts = [f"{each['service']} {show_size(each['bytes'])} ({each['source']})" for each in action["expected"]]
    return f": {', '.join(parts)} + reserve {show_size(action['reserve'])}"


def _failures(steps: tuple[StepResult, ...], redact: Callable[[str], str]) -> None:
    console = Screen(stderr=True)
    for step in steps:
        if step.diagnosis is not None:
            console.print()
            for line in diagnosis_lines(step.diagnosis, redact):
                console.say(line)


def diagnosis_lines(found: Diagnosis, redact: Callable[[str], str]) -> list[Text]:
    """Everything known about a failed service, a fact a line."""
    restarts = f", {found.restarts} restarts" if found.restarts else ""
    lines = [Text.assemble((found.service, "bold"), f"  {found.status}, exit code {found.exit_code}{restarts}")]
    facts = [("killed for memory", _OOM.get(found.oom, "no")), ("engine says", found.error)]
    if found.oom or found.memory_limit:
        facts.append(("memory limit", show_size(found.memory_limit) if found.memory_limit else "none"))
    if found.memory is not None:
        facts.append(("host memory", f"{show_size(found.memory.available)} available"))
    facts += [("health check", f"exit {each.exit_code}: {each.output.strip()}") for each in found.health_log[-1:]]
    facts += [("kernel", each.strip()) for each in found.kernel[-2:]]
    facts += [("log" if number == 0 else "", line) for number, line in enumerate(found.log)]
    lines += [_fact(name, redact(value)) for name, value in facts if value]
    if found.cause:
        lines.append(Text.assemble(("  likely cause  ", "dim"), (found.cause, "bold yellow")))
    return lines


def _fact(name: str, value: str) -> Text:
    return Text.assemble((f"  {name:<18}", "dim"), value)
