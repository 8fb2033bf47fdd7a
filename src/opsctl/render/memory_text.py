"""The memory report for a chat message: no line longer than 40 characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from opsctl.model.memory import ContainerMemory, MemoryReport, Verdict
from opsctl.model.units import show_size
from opsctl.render.memory_words import LEVEL_MARKS, culprit, megabytes, when

WIDTH = 40


def text_report(report: MemoryReport) -> str:
    """The report as plain lines, with a newline at the end."""
    return "\n".join(line.rstrip() for line in _lines(report)) + "\n"


def _lines(report: MemoryReport) -> Iterator[str]:
    yield from _wrap(report.droplet)
    yield from _wrap(report.summary)
    yield ""
    for row in report.ledger.rows:
        yield _pair(row.title, show_size(row.bytes))
    yield _pair("residual", show_size(report.ledger.residual))
    yield _pair("all", show_size(report.ledger.total))
    running = [each for each in report.containers if each.verdict is not Verdict.STOPPED]
    if running:
        yield ""
        yield f"{'MB held/limit':<26}verdict"
        yield from map(_container, running)
    if stopped := len(report.containers) - len(running):
        yield f"and {stopped} stopped"
    for kill in (report.ooms or ())[-3:]:
        yield ""
        yield from _wrap(f"OOM {when(kill)}: {kill.victim_process} in {kill.victim}; {culprit(kill)}")
    if report.findings:
        yield ""
        for each in report.findings:
            mark = LEVEL_MARKS[each.level][0]
            yield from _wrap(f"{mark} {each.text}", "  ")
            if each.next:
                yield from _wrap(f"  {each.next}", "    ")


def _container(each: ContainerMemory) -> str:
    """`orchestrator   183/none  no limit`, the name cut where it is too long."""
    limit = "none" if each.limit == 0 else megabytes(each.limit)
    figures = f"{megabytes(each.unreclaimable)}/{limit}"
    name = each.label if len(each.label) + len(figures) < 25 else each.label[: 23 - len(figures)] + "…"
    return f"{name} {figures:>{24 - len(name)}} {each.verdict.value:<12}"[:WIDTH]


def _pair(title: str, size: str) -> str:
    return f"{title:<16}{size:>12}"


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False) or [""]
