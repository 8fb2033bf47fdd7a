"""What a search found, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from opsctl.model.search import Answer, Hit, SearchReport
from opsctl.render.screen import Screen

_SNIPPET = 300  # characters


def print_search(report: SearchReport) -> None:
    """Write who answered and the items to stdout."""
    console = Screen()
    console.say(_head(report))
    for note in (*report.answer.notes, *report.notes):
        console.say(Text(note, style="yellow"))
    if not report.answer.hits:
        console.say(Text(_nothing(report.answer)))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(3):
        table.add_column(vertical="top")
    table.add_column(overflow="fold", ratio=1)
    for hit in report.answer.hits:
        table.add_row(Text(f"{hit.score:.2f}", style="bold"), hit.tenant or "-", _who(hit), _snippet(hit))
    console.print(table)


def warn(report: SearchReport, redact: Callable[[str], str]) -> None:
    """Say on stderr that the first store did not answer."""
    text = f"{redact(report.failed)}; the fallback answers"
    Screen(stderr=True).say(Text(text, style="yellow"))


def _head(report: SearchReport) -> Text:
    answer = report.answer
    line = Text.assemble((answer.store, "bold"), f"  answered in {answer.seconds * 1000:.0f} ms")
    before = f"{answer.connecting * 1000:.0f} ms to connect"
    if report.embedding is not None:
        before += f", {report.embedding * 1000:.0f} to load the model and embed the text"
    line.append(f" ({before})", style="dim")
    if answer.how != "nothing":
        line.append(f"  by {answer.how}")
    days = [each for each in answer.tenants if each]
    if days:
        line.append(f"  in {days[0] if len(days) == 1 else f'{len(days)} days, {min(days)} to {max(days)}'}")
    if report.answered_by == "fallback":
        line.append("  the fallback", style="yellow")
    return line


def _nothing(answer: Answer) -> str:
    return "nothing is there to be found" if answer.empty else "nothing was found"


def _who(hit: Hit) -> Text:
    found = next((str(hit.properties[each]) for each in ("speaker", "owner") if hit.properties.get(each)), "")
    return Text(found, style="dim")


def _snippet(hit: Hit) -> Text:
    line = " ".join(hit.text.split()) or hit.id
    return Text(line if len(line) <= _SNIPPET else f"{line[: _SNIPPET - 1]}…")
