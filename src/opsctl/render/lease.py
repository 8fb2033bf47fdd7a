"""Leases as a person reads them."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from opsctl.model.lease import LeaseBreak, LeaseReport, LeaseState
from opsctl.model.units import show_duration
from opsctl.render.screen import Screen

_MARKS = {"held": ("●", "yellow"), "free": ("○", "green"), "abandoned": ("○", "yellow")}


def print_leases(droplet: str, report: LeaseReport, *, redact: Callable[[str], str]) -> None:
    """Write the leases of one droplet to stdout."""
    console = Screen()
    for each in report.leases:
        mark, style = _MARKS[each.state]
        console.say(Text.assemble((f"{mark} ", style), (droplet, "bold"), f"  {each.scope}  ", (_word(each), style)))
        if each.state == "free":
            continue
        for name, value in _facts(each):
            console.say(Text.assemble((f"  {name:<9}", "dim"), redact(value)))
    held = next((each for each in report.leases if each.state == "held"), None)
    if held is not None:
        scope = "" if held.scope == "stack" else f" --scope {held.scope}"
        text = f"opsctl lease break{scope} -d {droplet} --reason '…'"
        console.whole(Text.assemble(("  to end it ", "dim"), (text, "bold")))


def _word(each: LeaseState) -> str:
    if each.state == "abandoned":
        return "free; its last holder never gave it back (the next run notes that in the audit)"
    return each.state


def _facts(each: LeaseState) -> list[tuple[str, str]]:
    if not each.this_boot:
        since = "before the host's last start"
    else:
        ago = " ago" if each.state == "abandoned" else ""
        took = show_duration(each.seconds) if each.seconds is not None else ""
        since = f"{took}{ago}, by the host's uptime" if took else "unknown"
    facts = [
        ("who", each.user or "unknown"),
        ("from", each.origin),
        ("command", each.command),
        ("taken" if each.state == "abandoned" or not each.this_boot else "for", since),
        ("run", each.run),
    ]
    return [(name, value) for name, value in facts if value]


def print_break(droplet: str, done: LeaseBreak, *, dry_run: bool, redact: Callable[[str], str]) -> None:
    """Write what became of a lease that was to be broken to stdout."""
    console = Screen()
    if dry_run and done.before.state != "free":
        what = (
            "would be ended, with everything it runs" if done.before.state == "held" else "would be closed in the audit"
        )
        who = f"{done.before.user or 'somebody'} from {done.before.origin or 'somewhere'}"
        console.say(Text(f"{droplet}: {who}, `{redact(done.before.command)}`, {what} (dry run)"))
        return
    if not done.broken:
        console.say(Text(f"{droplet}: the lease is free, there was nothing to break"))
        return
    run = f"run {done.before.run}" if done.before.run else "an unknown run"
    if done.before.state == "abandoned":
        console.say(Text(f"{droplet}: {run} was abandoned; it is closed in the audit now"))
        return
    processes = f"{done.ended} process{'' if done.ended == 1 else 'es'} ended there"
    who = f"{done.before.user or 'somebody'} from {done.before.origin or 'somewhere'}"
    console.say(Text.assemble(("✓ ", "green"), (droplet, "bold"), f"  the lease of {who} is broken: {processes}"))
    console.say(Text.assemble(("  run    ", "dim"), redact(done.before.run)))
    console.say(Text.assemble(("  reason ", "dim"), redact(done.reason)))
    console.whole(Text.assemble(("  next   ", "dim"), ("opsctl status", "bold"), ("   what it left behind", "dim")))
