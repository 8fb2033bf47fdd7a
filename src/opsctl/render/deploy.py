"""What a deploy changes, and the releases, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from opsctl.model.deploy import Deployed, Release, Releases, StagedFile
from opsctl.render.run import print_changed
from opsctl.render.screen import Screen

_STYLES = {"recreate": "yellow", "create": "green", "restart": "yellow", "remove": "red", "orphan": "red"}


def print_deployed(name: str, deployed: Deployed, *, redact: Callable[[str], str], many: bool = False) -> None:
    """Write what changes and what was done to stdout."""
    console = Screen()
    if many:
        console.print(Text(name, style="bold"))
    console.say(Text.assemble(("from ", "dim"), redact(deployed.source)))
    for file in deployed.files:
        console.say(_file(file))
    for each in deployed.services:
        action = each.action or "its container stays as it is"
        head = Text.assemble((f"  {each.service}", "bold"), "  ", (action, _STYLES.get(each.action, "dim")))
        console.say(head.append(f"  {each.why}" if each.why else "", style="dim"))
        for line in each.changes:
            console.say(Text(f"    {redact(line)}"))
    if deployed.files or deployed.services:
        console.print()
    print_changed(name, deployed.changed, redact=redact)
    if deployed.release and deployed.changed.run is not None:
        ok = deployed.changed.run.error is None and deployed.changed.run.interrupted is None
        said = f"release {deployed.release}"
        if not ok or deployed.source != said:
            back = deployed.rolled_back.changed.run if deployed.rolled_back is not None else None
            left = "not finished, and dropped" if back is not None and back.error is None else "not finished"
            console.print(Text(said if ok else f"{said} ({left})", style="dim"))
    if deployed.rolled_back is not None:
        console.print(Text("\nrolled back:", style="bold"))
        print_deployed(name, deployed.rolled_back, redact=redact)


def _file(file: StagedFile) -> Text:
    how, style = ("removed", "red") if not file.new else ("changed", "yellow") if file.old else ("new", "green")
    line = Text.assemble(f"  {file.path}  ", (how, style))
    for sign, names in (("+", file.added), ("-", file.removed), ("~", file.changed)):
        for each in names:
            line.append(f"  {sign}{each}", style="red" if sign == "-" else "")
    return line


def print_releases(name: str, found: Releases, *, redact: Callable[[str], str], many: bool = False) -> None:
    """Write the releases to stdout, the newest first."""
    console = Screen()
    if many:
        console.print(Text(name, style="bold"))
    if not found.releases:
        console.print("no release is kept yet: a deploy keeps what was there, and what it brings")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "release", "made", "by", "from", "images", ""):
        table.add_column(title, no_wrap=title in ("release", "made"))
    for each in found.releases:
        table.add_row(*_row(each, redact))
    console.print(table)


def _row(each: Release, redact: Callable[[str], str]) -> tuple[str | Text, ...]:
    left = Text("not finished", style="yellow") if each.status != "done" else Text("")
    if each.moved:
        left = Text(f"changed since: {', '.join(each.moved)}", style="yellow")
    by = f"{each.by}@{each.origin}" if each.origin else each.by
    return ("*" if each.current else "", each.id, each.at, by, redact(each.source), str(len(each.images)), left)
