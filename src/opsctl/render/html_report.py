"""The memory report as one self-contained HTML file: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from opsctl.model.memory import ContainerMemory, Finding, Ledger, LedgerRow, MemoryReport, OomKill, Verdict
from opsctl.model.memory_facts import DiskUse
from opsctl.model.units import show_duration, show_size
from opsctl.render.html_charts import Part, bar, stacked
from opsctl.render.memory_words import UNKNOWN, culprit, percent, when

_KEY = '<p class="soft">held memory within its own limit (within the RAM where there is none); the tick is the peak</p>'


def html_report(reports: Sequence[MemoryReport]) -> str:
    """The whole file for one droplet or several."""
    template = Template(files("opsctl.render").joinpath("report.html").read_text(encoding="utf-8"))
    names = ", ".join(report.droplet for report in reports) or "no droplet"
    return template.substitute(title=escape(f"Memory of {names}"), body="\n".join(map(_droplet, reports)))


def _droplet(report: MemoryReport) -> str:
    """One droplet's part of the page."""
    return "\n".join(
        (
            _head(report),
            _tiles(report),
            _card("Where the RAM goes", _ledger(report.ledger)),
            _card("Findings", _findings(report.findings)) if report.findings else "",
            _card("Containers", _KEY + "".join(_container(each, report.host.total) for each in report.containers)),
            f'<div class="pair">{_card("Limits against the RAM", _limits(report))}{_card("Disk", _disk(report))}</div>',
            _card("OOM kills", _ooms(report.ooms)),
            _card("Not known here", _notes(report.notes)) if report.notes else "",
        )
    )


def _card(title: str, body: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{body}</section>'


def _head(report: MemoryReport) -> str:
    host = report.host
    parts = [
        *([host.name] if host.name != report.droplet else []),
        f"kernel {host.kernel}",
        f"Docker {host.engine or UNKNOWN}",
        f"cgroup v{host.cgroup_version or '?'}",
    ]
    if host.uptime is not None:
        parts.append(f"up {show_duration(host.uptime)}")
    parts.append(report.taken.replace("T", " ").replace("Z", " UTC"))
    bad = any(each.level == "problem" and each.resource == "memory" for each in report.findings)
    summary = f'<p class="{"problem" if bad else "healthy"}"><strong>{escape(report.summary)}</strong></p>'
    return f'<header><h1>{escape(report.droplet)}</h1>{summary}<p class="soft">{escape(" · ".join(parts))}</p></header>'


def _tiles(report: MemoryReport) -> str:
    host, rows = report.host, {row.key: row.bytes for row in report.ledger.rows}
    swap = "none" if host.swap_total == 0 else f"{show_size(host.swap_used)} of {show_size(host.swap_total)}"
    tiles = [
        (show_size(host.available), f"available of {show_size(host.total)}"),
        (show_size(rows.get("containers")), "held by containers"),
        (show_size(rows.get("docker")), "Docker itself"),
        (swap, "swap used"),
    ]
    if host.pressure is not None:
        tiles.append((f"{host.pressure.some[1]:.1f} %", "of the last minute stalled"))
    return f'<div class="tiles">{"".join(_tile(*each) for each in tiles)}</div>'


def _tile(value: str, label: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span class="soft">{escape(label)}</span></div>'


def _ledger(ledger: Ledger) -> str:
    """A stacked bar of all rows, and what each is made of."""
    parts = [Part(row.title, row.bytes or 0, row.key, f"{row.title} {show_size(row.bytes)}") for row in ledger.rows]
    if ledger.residual is not None and ledger.residual > 0:
        parts.insert(-1, Part("residual", ledger.residual, "residual", f"residual {show_size(ledger.residual)}"))
    lines = "".join(_legend(row, ledger.total) for row in ledger.rows)
    share = None if ledger.residual_share is None else ledger.residual_share
    rest = _legend_line("residual", "residual", ledger.residual, share)
    return f'{stacked(parts, ledger.total)}<div class="legend">{lines}{rest}</div>'


def _legend(row: LedgerRow, total: int) -> str:
    share = row.bytes / total if row.bytes is not None and total else None
    line = _legend_line(row.key, row.title, row.bytes, share)
    made = " · ".join(f"{item.name} {show_size(item.bytes)}" for item in row.items)
    body = f"{escape(made)}<br>" if made else ""
    return f"{line}<details><summary>{escape(_what(row))}</summary>{body}source: {escape(row.source)}</details>"


def _what(row: LedgerRow) -> str:
    """The largest parts, so that a glance is enough."""
    largest = [item.name for item in row.items if item.bytes and item.bytes > 0][:3]
    return ", ".join(largest) if largest else "source"


def _legend_line(key: str, title: str, size: int | None, share: float | None) -> str:
    numbers = f'<span class="n">{escape(show_size(size))}</span><span class="n soft">{percent(share)}</span>'
    return f'<i style="background:var(--{key})"></i><span>{escape(title)}</span>{numbers}'


def _container(each: ContainerMemory, total: int) -> str:
    """Held memory in the container's own limit (the RAM where it has none), and its peak as a tick."""
    kind = each.verdict.value.replace(" ", "-")
    pill = f'<span class="pill {kind}">{escape(each.verdict.value)}</span>'
    name = f"<span><strong>{escape(each.label)}</strong> {pill}</span>"
    if each.verdict is Verdict.STOPPED:
        return (
            f'<div class="row">{name}<span class="size"></span><span class="more">{escape(_facts(each))}</span></div>'
        )
    room = each.limit if each.limit and each.limit < total else total
    chart = bar(
        each.unreclaimable or 0, room, kind, tick=each.peak, label=f"{each.label} {show_size(each.unreclaimable)}"
    )
    size = f'<span class="size"><strong>{escape(show_size(each.unreclaimable))}</strong> held</span>'
    return f'<div class="row">{name}{size}{chart}<span class="more">{escape(_facts(each))}</span></div>'


def _facts(each: ContainerMemory) -> str:
    parts = []
    if each.verdict is not Verdict.STOPPED:
        limit = "no limit" if each.limit == 0 else f"limit {show_size(each.limit)}"
        if each.limit_share is not None:
            limit = f"{percent(each.limit_share)} of its limit of {show_size(each.limit)}"
        parts = [f"used {show_size(each.used)}", limit, f"peak {show_size(each.peak)}"]
    if each.swap:
        parts.append(f"swap {show_size(each.swap)}")
    if each.restarts:
        parts.append(f"{each.restarts} restarts")
    if each.oom_kills and "OOM-killed" not in each.reason:
        parts.append(f"OOM-killed {each.oom_kills} ×")
    if each.reason:
        parts.append(each.reason)
    return " · ".join(parts)


def _findings(findings: Iterable[Finding]) -> str:
    return f"<ul>{''.join(map(_finding, findings))}</ul>"


def _finding(each: Finding) -> str:
    command = f"<code>{escape(each.next)}</code>" if each.next else ""
    return f'<li><b class="{each.level}">{escape(show_size(each.bytes))}</b>{escape(each.text)}{command}</li>'


def _limits(report: MemoryReport) -> str:
    limits, host = report.limits, report.host
    if host.engine_problem:
        return f'<p class="soft">{UNKNOWN}: Docker was not asked</p>'
    widest = max(limits.total, host.total, 1)
    over = "at-risk" if limits.total > host.total else "healthy"
    without = (
        f'<p class="soft">no limit that bites: {escape(", ".join(limits.unlimited))}</p>' if limits.unlimited else ""
    )
    return (
        f"<p>{escape(show_size(limits.total))} in {limits.limited} limits = {limits.share:.1f} × the RAM</p>"
        f"{bar(limits.total, widest, over, label='sum of limits')}"
        f'<p class="soft">RAM {escape(show_size(host.total))}</p>'
        f"{bar(host.total, widest, 'info', label='RAM')}{without}"
    )


def _disk(report: MemoryReport) -> str:
    disk, places = report.disk, ""
    for place in report.disk.places:
        full = "at-risk" if place.used_share >= 0.85 else "healthy"
        places += f"<p>{escape(place.path)}: {show_size(place.used)} used, {show_size(place.available)} left</p>"
        places += bar(place.used, place.used + place.available, full, label=place.path)
    pairs = (
        ("images", _use(disk.images)),
        ("volumes", _use(disk.volumes)),
        ("build cache", _use(disk.build_cache)),
        ("container logs", show_size(disk.logs)),
    )
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f"{places}<br><dl>{rows}</dl>"


def _use(use: DiskUse | None) -> str:
    if use is None:
        return UNKNOWN
    return f"{use.count}: {show_size(use.size)}, {show_size(use.reclaimable)} unused" if use.count else "none"


def _ooms(kills: tuple[OomKill, ...] | None) -> str:
    if kills is None:
        return f'<p class="soft">{UNKNOWN}: the kernel log may not be read</p>'
    if not kills:
        return '<p class="soft">none in the kernel log of this boot and the one before</p>'
    return f"<ul>{''.join(map(_oom, reversed(kills[-20:])))}</ul>"


def _oom(kill: OomKill) -> str:
    victim = f"{kill.victim_process} in {kill.victim}, {show_size(kill.victim_bytes)}"
    return f'<li><b>{escape(when(kill))}</b>{escape(victim)}<br><span class="soft">{escape(culprit(kill))}</span></li>'


def _notes(notes: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"
