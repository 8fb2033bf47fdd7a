"""Env files by the names of their variables, as a person reads them."""

from __future__ import annotations

from rich.text import Text

from opsctl.model.deploy import EnvChanged, EnvDiff, EnvFile
from opsctl.render.screen import Screen


def print_env_diff(name: str, found: EnvDiff, *, many: bool = False) -> None:
    """Write what differs to stdout; names only."""
    console = Screen()
    if many:
        console.print(Text(name, style="bold"))
    since = f"since release {found.since}" if found.since[:1].isdigit() else f"against {found.since}"
    if not found.since:
        since = "no release is kept yet to compare with"
    console.say(Text(since, style="dim"))
    for each in found.files:
        console.say(_file(each))
    if found.recreate:
        text = f"{', '.join(found.recreate)}: the container differs from the files; opsctl deploy recreates it"
        console.say(Text(text, style="yellow"))


def _file(each: EnvFile) -> Text:
    line = Text.assemble((each.path, "bold"), (f"  {each.count} variables", "dim"))
    line.append(f"  used by {', '.join(each.used_by)}" if each.used_by else "  used by no service", style="dim")
    for sign, names, style in (("+", each.added, "green"), ("-", each.removed, "red"), ("~", each.changed, "yellow")):
        for name in names:
            line.append(f"\n  {sign} {name}", style=style)
    if not (each.added or each.removed or each.changed):
        line.append("  unchanged", style="dim")
    return line


def print_env_changed(name: str, changed: EnvChanged, *, many: bool = False) -> None:
    """Write what became of a variable to stdout."""
    console = Screen()
    head = f"{name}: " if many else ""
    would = "would be " if changed.dry_run and changed.outcome != "unchanged" else ""
    console.say(Text(f"{head}{changed.name} {would}{changed.outcome} in {changed.file}"))
    for state, names in (("running", changed.running), ("not running", changed.stopped)):
        if names:
            console.say(Text(f"used by, {state}: {', '.join(names)}", style="dim"))
    if changed.outcome != "failed" and not (changed.running or changed.stopped):
        console.say(Text(f"no service takes {changed.name} from there", style="dim"))
    if changed.recreate:
        text = f"{', '.join(changed.recreate)} takes it only when recreated: opsctl deploy"
        console.say(Text(text, style="yellow"))
