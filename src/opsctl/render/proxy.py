"""A reverse proxy's routes as people read them."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from opsctl.model.proxy import ProxyResult, Route
from opsctl.render.screen import Screen


def print_proxy(droplet: str, found: ProxyResult, *, many: bool) -> None:
    """What it lets through, what went, what came back."""
    console = Screen()
    if many:
        console.print(Text(droplet, "bold"))
    table = Table(box=None, pad_edge=False)
    for title in ("", "route", "leads to", "line"):
        table.add_column(title)
    would = "would go" if found.dry_run else "gone"
    for mark, style, routes in (("", "", found.routes), ("-", "red", found.gone), ("+", "green", found.back)):
        for each in routes if mark != "+" else ():
            _row(table, mark, style, each, would if mark == "-" else "")
    console.print(table)
    if found.back:
        word = "would come back" if found.dry_run else "back"
        console.print(f"\n{word}: {', '.join(each.matcher for each in found.back)}")
    if found.run is not None:
        how = next((step.detail for step in found.run.steps), "")
        console.print(f"\n{found.file}: caddy {how}, and its own reading of it proves it")
    elif not found.dry_run and found.plan is not None:
        console.print("\nunchanged")
    if found.kept:
        console.say(f"the first configuration is kept: {found.kept}   (opsctl proxy routes --restore)")


def _row(table: Table, mark: str, style: str, route: Route, note: str) -> None:
    ways = Text(", ".join(route.upstreams) or "itself", style)
    table.add_row(Text(mark, style), Text(route.matcher, style), ways, Text(note or str(route.first), style))
