"""The memory report on a terminal: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from opsctl.model.memory import ContainerMemory, DiskReport, HostMemory, Ledger, Limits, MemoryReport, Verdict
from opsctl.model.memory_facts import DiskUse
from opsctl.model.units import show_duration, show_size
from opsctl.render.memory_words import LEVEL_MARKS, UNKNOWN, VERDICT_STYLES, culprit, megabytes, percent, when

_ROW_STYLES = {"containers": "cyan", "docker": "blue", "services": "magenta", "kernel": "yellow", "cache": "green"}
_WIDE = 112  # from here on there is room for the verdict's reason


def print_report(report: MemoryReport, console: Console | None = None) -> None:
    """Write the whole report to stdout, or to the console given."""
    out = console or Console(highlight=False)
    blocks = Group(*_blocks(report, out.width, ascii_only=out.options.ascii_only))
    out.print(blocks)


def _blocks(report: MemoryReport, width: int, *, ascii_only: bool) -> Iterator[RenderableType]:
    yield _head(report, width)
    yield _titled("Where the RAM goes", _ledger(report.ledger, width, "#" if ascii_only else "█"))
    if report.containers:
        yield _titled(
            "Containers (MB; used as docker stats has it, held cannot be given back)", _containers(report, width)
        )
    yield _titled("Limits, pressure, swap", _short(report.host, report.limits))
    yield _titled("Disk", _disk(report.disk))
    if report.ooms:
        yield _titled("OOM kills", _ooms(report))
    if report.findings:
        yield _titled("Findings", _findings(report))
    if report.notes:
        notes = Table.grid(padding=(0, 1))
        for note in report.notes:
            notes.add_row(Text("·", "dim"), Text(note, "dim"))
        yield _titled("Not known here", notes)


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(""), Text(title, "bold"), Padding(body, (0, 0, 0, 1), expand=False))


def _head(report: MemoryReport, width: int) -> RenderableType:
    host = report.host
    engine = f"Docker {host.engine}" if host.engine else "Docker unknown"
    parts = [f"kernel {host.kernel}", engine, f"cgroup v{host.cgroup_version or '?'}"]
    if host.uptime is not None:
        parts.append(f"up {show_duration(host.uptime)}")
    bad = any(each.level == "problem" and each.resource == "memory" for each in report.findings)
    line = Text.assemble((report.droplet, "bold cyan"), "  ", (report.summary, "bold red" if bad else "bold green"))
    return Group(line, *(Text(each, "dim") for each in _flow(parts, width)))


def _flow(parts: list[str], width: int) -> list[str]:
    """The parts in lines, none broken in two."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines


def _ledger(ledger: Ledger, width: int, block: str) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify)
    room = max(10, min(width, 120) - 46)
    rows = [(row.title, row.bytes, _ROW_STYLES.get(row.key, "")) for row in ledger.rows]
    for title, size, style in [*rows, ("residual", ledger.residual, "dim")]:
        share = None if size is None or not ledger.total else size / ledger.total
        bar = block * max(0, round((share or 0) * room)) or ("▏" if size and block == "█" else "")
        table.add_row(title, show_size(size), percent(share), Text(bar, style))
    table.add_row(Text("all of it", "bold"), Text(show_size(ledger.total), "bold"), "", "")
    return table


def _containers(report: MemoryReport, width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    some_swap = bool(report.host.swap_total) or any(each.swap for each in report.containers)
    table.add_column("container", no_wrap=True, overflow="ellipsis", min_width=10)
    heads = ["used", "held", "limit", "of limit", *(["swap"] if some_swap else []), "peak", "restarts", "OOM"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if width >= _WIDE:
        table.add_column("", overflow="fold")
    for each in report.containers:
        cells = _cells(each, report.host.total)
        if not some_swap:
            del cells[5]
        table.add_row(*cells, *([Text(each.reason, "dim")] if width >= _WIDE else []))
    return table


def _cells(each: ContainerMemory, total: int) -> list[Text]:
    verdict = Text(each.verdict.value, VERDICT_STYLES[each.verdict])
    if each.verdict is Verdict.STOPPED:
        oom = Text(str(each.oom_kills), "red") if each.oom_kills else Text("")
        blank = [Text("")] * 5
        return [Text(each.label, "dim"), *blank, Text(""), Text(_count(each.restarts)), oom, verdict]
    limit = "none" if each.limit == 0 else megabytes(each.limit)
    return [
        Text(each.label),
        Text(megabytes(each.used)),
        Text(megabytes(each.unreclaimable), "bold"),
        Text(limit, "" if each.limit and each.limit < total else "yellow"),
        Text(percent(each.limit_share) if each.limit else ""),
        Text(megabytes(each.swap)),
        Text(megabytes(each.peak)),
        Text(_count(each.restarts), "yellow" if each.restarts else ""),
        Text(_count(each.oom_kills), "bold red" if each.oom_kills else ""),
        verdict,
    ]


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _short(host: HostMemory, limits: Limits) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    without = f"; none that bites: {', '.join(limits.unlimited)}" if limits.unlimited else ""
    together = f"{show_size(limits.total)} in all = {limits.share:.1f} × the RAM{without}"
    table.add_row("limits", UNKNOWN if host.engine_problem else together)
    if host.pressure is None:
        table.add_row("pressure", UNKNOWN)
    else:
        some, full = host.pressure.some, host.pressure.full
        text = (
            f"some {some[0]:.1f} / {some[1]:.1f} / {some[2]:.1f} %, all {full[0]:.1f} / {full[1]:.1f} / {full[2]:.1f} %"
        )
        table.add_row("pressure", f"{text} of the last 10 s / 1 min / 5 min")
    if host.swap_total == 0:
        table.add_row("swap", "none")
    else:
        traffic = f"since the boot {show_size(host.swapped_in)} in, {show_size(host.swapped_out)} out"
        table.add_row("swap", f"{show_size(host.swap_used)} of {show_size(host.swap_total)} used; {traffic}")
    return table


def _disk(disk: DiskReport) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for place in disk.places:
        free = f"{show_size(place.used)} used ({percent(place.used_share)}), {show_size(place.available)} left"
        table.add_row(place.path, free)
    for title, use, word in (
        ("images", disk.images, "reclaimable"),
        ("volumes", disk.volumes, "in no container's use"),
        ("build cache", disk.build_cache, "reclaimable"),
    ):
        table.add_row(title, _use(use, word))
    table.add_row("container logs", show_size(disk.logs))
    return table


def _use(use: DiskUse | None, word: str) -> str:
    if use is None:
        return UNKNOWN
    return f"{use.count} with {show_size(use.size)}, {show_size(use.reclaimable)} {word}" if use.count else "none"


def _ooms(report: MemoryReport, most: int = 8) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head in ("when", "victim", "culprit"):
        table.add_column(head, overflow="fold")
    kills = report.ooms or ()
    for kill in reversed(kills[-most:]):
        victim = f"{kill.victim_process} in {kill.victim}, {show_size(kill.victim_bytes)}"
        table.add_row(when(kill), victim, culprit(kill))
    if len(kills) > most:
        table.add_row("", f"and {len(kills) - most} before these", "")
    return table


def _findings(report: MemoryReport) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for each in report.findings:
        mark, style = LEVEL_MARKS[each.level]
        text = Text.assemble((f"{mark} ", style), each.text)
        if each.next:
            text.append(f"\n  → {each.next}", "bold")
        table.add_row(Text(show_size(each.bytes), style), text)
    return table
