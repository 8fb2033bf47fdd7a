"""The audit as a person reads it."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from opsctl.model.audit import AuditReport, AuditRun
from opsctl.model.units import show_duration
from opsctl.render.screen import Screen

_STYLES = {
    "done": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "abandoned": "bold yellow",
    "broken": "bold yellow",
    "running": "cyan",
}
_STEP_STYLES = {"changed": "green", "done": "green", "failed": "bold red", "unchanged": "dim", "not begun": "dim"}


def print_audit(droplet: str, report: AuditReport, *, one: bool, many: bool, redact: Callable[[str], str]) -> None:
    """Write the runs of one droplet to stdout: a line or two each, or with `one` everything about them."""
    console = Screen()
    if many:
        console.print(Text(droplet, style="bold"))
    if not report.runs:
        older = f"no run since {_time(report.since)}; {report.before} older (without --since they are shown)"
        console.say(Text(older if report.before else "nothing is in the audit", style="dim"))
        return
    if one:
        for each in report.runs:
            _whole(console, each, redact)
        _steps(console, report, redact)
        return
    if report.more:
        console.print(Text(f"{report.more} older runs are not shown (--limit 0 shows all)", style="dim"))
    for each in report.runs:
        _lines(console, each, redact)


def _lines(console: Screen, each: AuditRun, redact: Callable[[str], str]) -> None:
    head = Text.assemble((_time(each.at), "dim"), f"  {_outcome(each):<19} ")
    head.stylize(_STYLES[each.outcome], len(_time(each.at)) + 2, len(head))
    head.append(redact(each.command) or "an unknown command")
    console.say(head)
    here = "written on this machine" if each.where == "here" else ""
    took = show_duration(each.seconds) if each.seconds is not None else ""
    under = f"a step of {each.under}" if each.under else ""
    parts = [f"{each.user} from {each.origin}" if each.origin else each.user, took, each.run, under, here]
    _more(console, " · ".join(part for part in parts if part))
    if text := _said(each):
        _more(console, redact(text))


def _more(console: Screen, text: str) -> None:
    console.say(Text(f"{'':22}{text}", style="dim"))


def _time(at: str) -> str:
    return at.replace("T", " ")[:20] if at else "at an unknown time"


def _outcome(each: AuditRun) -> str:
    code = f" (exit {each.exit_code})" if each.exit_code else ""
    return f"{each.outcome}{code}"


def _said(each: AuditRun) -> str:
    if each.outcome == "abandoned":
        noticed = f"noticed by run {each.closed_by}" if each.closed_by else "nobody has changed anything since"
        return f"it never said how it ended; {noticed}{f' ({each.detail})' if each.detail else ''}"
    if each.outcome == "broken":
        return f"its lease was broken by {each.detail}"
    return each.detail


def _whole(console: Screen, each: AuditRun, redact: Callable[[str], str]) -> None:
    facts = [
        ("run", each.run),
        ("command", redact(each.command)),
        ("who", f"{each.user} from {each.origin}" if each.origin else each.user),
        ("there as", each.login),
        ("when", _time(each.at)),
        ("took", show_duration(each.seconds) if each.seconds is not None else ""),
        ("outcome", _outcome(each)),
        ("", redact(_said(each))),
        ("plan", each.plan),
        ("step of", each.under),
        ("opsctl", each.opsctl),
        ("kept", "on this machine" if each.where == "here" else ""),
    ]
    for name, value in facts:
        if value:
            style = _STYLES[each.outcome] if name == "outcome" else ""
            console.say(Text.assemble((f"{name:<10}", "dim"), (value, style)))
    console.print()


def _steps(console: Screen, report: AuditReport, redact: Callable[[str], str]) -> None:
    if not report.steps:
        console.print(Text("it wrote no journal", style="dim"))
        return
    for step in report.steps:
        style = _STEP_STYLES.get(step.ended, "yellow")
        console.say(
            Text.assemble((f"{step.ended:<11}", style), redact(step.title), (f"  {redact(step.detail)}", "dim"))
        )
