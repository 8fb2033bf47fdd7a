"""A droplet's status as a person reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from opsctl.model.status import OtherContainer, ServiceStatus, Status
from opsctl.model.units import show_duration, show_size
from opsctl.render.screen import Screen

_STYLES = {"ok": ("●", "green"), "starting": ("◐", "yellow"), "idle": ("○", "dim"), "bad": ("✗", "bold red")}
_WIDE = 120  # columns from which images are shown


def print_status(droplet: str, status: Status, *, about: Callable[[str], str] = str) -> None:
    """Write one droplet's status: a line about the host, services by phase, strangers, what is wrong."""
    console = Screen()
    console.print(_head(droplet, status))
    if status.services:
        console.print()
        console.print(_services(status, console.width))
    if status.others:
        console.print(
            Text("\nOther containers (left alone by opsctl)" if status.services else "\nContainers", style="bold")
        )
        console.print(_others(status.others))
    console.print()
    for line in verdict(status, about):
        (console.whole if line.plain.startswith("  next") else console.say)(line)


def _head(droplet: str, status: Status) -> Text:
    memory = status.memory
    engine = f"Docker {status.engine}, compose {status.compose}" if status.engine else ""
    swap = f"swap {show_size(memory.swap_total - memory.swap_free)} of {show_size(memory.swap_total)}"
    free = f"{show_size(memory.available)} of {show_size(memory.total)} memory available"
    parts = [engine, f"up {show_duration(status.uptime)}", free, swap if memory.swap_total else "no swap"]
    return Text.assemble((droplet, "bold"), "  ", (" · ".join(filter(None, parts)), "dim"))


def _services(status: Status, width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("phase", justify="right", no_wrap=True)
    table.add_column("service", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("since", justify="right", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    # Left out where nothing restarted: the column is worth its room only then.
    restarted = any(each.restarts for each in status.services)
    if restarted:
        table.add_column("restarts", justify="right", no_wrap=True)
    longest = max((len(port) for each in status.services for port in each.ports), default=4)
    table.add_column("port", overflow="fold", min_width=longest)
    if width >= _WIDE:
        table.add_column("image", overflow="ellipsis", no_wrap=True, style="dim")
    before: object = ""
    for each in status.services:
        phase = "–" if each.phase is None else str(each.phase)
        row = _row(each, phase if phase != before else "", restarts=restarted)
        table.add_row(*row, *([each.image] if width >= _WIDE else []))
        before = phase
    return table


def _row(each: ServiceStatus, phase: str, *, restarts: bool) -> Sequence[Text | str]:
    sign, style = _STYLES[each.level]
    state = Text.assemble((f"{sign} {each.state}", style))
    if each.differs:
        state.append(" ≠", "yellow")
    count = Text(str(each.restarts), style="yellow") if each.restarts else ""
    quiet = "dim" if each.level == "idle" else ""
    return (
        phase,
        Text(each.name, style=quiet),
        state,
        age(each.since),
        _memory(each),
        *([count] if restarts else []),
        ", ".join(each.ports),
    )


def _memory(each: ServiceStatus) -> Text:
    expected = each.memory_expected
    if each.memory is None:
        return Text(f"– / {show_size(expected):>6}" if expected else "", style="dim")
    text = Text(show_size(each.memory))
    if expected:
        over = each.memory > expected * 1.2
        text.append(f" / {show_size(expected):>6}", "yellow" if over else "dim")
    return text


def _others(others: Sequence[OtherContainer]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for each in others:
        memory = show_size(each.memory) if each.memory is not None else ""
        table.add_row(
            Text(each.name, overflow="fold"), Text(each.state), age(each.since), memory, Text(each.reason, style="dim")
        )
    return table


def age(seconds: float | None) -> str:
    """`12 s`, `5 min`, `3 h`, `4 d`; nothing for unknown."""
    if seconds is None:
        return ""
    for bound, unit, size in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < bound:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} d"


def verdict(status: Status, about: Callable[[str], str] = str) -> list[Text]:
    """What is wrong, each with what to type next; or that nothing is."""
    lines = []
    for each in sorted(status.problems, key=lambda problem: problem.level):
        sign, style = ("✗", "bold red") if each.level == "failed" else ("!", "yellow")
        lines.append(Text.assemble((f"{sign} ", style), each.text))
        for number, then in enumerate(each.next.splitlines()):
            lines.append(Text.assemble((f"  {'' if number else 'next':<5}", "dim"), (then, "bold")))
    if status.services and status.healthy:
        lines.extend(_well(status, about))
    return lines


def _well(status: Status, about: Callable[[str], str]) -> list[Text]:
    if not status.phase:
        first = min(status.phases, default=1)
        following = about(f"opsctl startup --phase {first}")
        return [Text("Nothing of the stack runs."), Text.assemble(("  next ", "dim"), (following, "bold"))]
    wanted = [each for each in status.services if each.level == "ok"]
    up_to = "phase 1" if status.phase == 1 else f"phases 1 to {status.phase}"
    text = f"{up_to}: everything that should run does, {len(wanted)} services up"
    return [Text.assemble(("✓ ", "bold green"), text, _optional(status))]


def _optional(status: Status) -> str:
    """The services of the phases that were started that may be down, and are."""
    down = [
        each.name
        for each in status.services
        if each.level == "idle" and each.phase is not None and each.phase <= status.phase
    ]
    if not down:
        return ""
    return f"; {len(down)} optional {'one does' if len(down) == 1 else 'ones do'} not run: {', '.join(down)}"
