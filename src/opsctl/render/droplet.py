"""Droplets as their provider knows them, on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from opsctl.model.cloud import CloudDroplet
from opsctl.model.droplet import Advice, Listed, Offered, Shown, SizeAdvice
from opsctl.model.units import show_size
from opsctl.render.screen import Screen

_STATES = {"active": "green", "off": "bold red", "new": "yellow", "archive": "dim"}


def table(*columns: str) -> Table:
    """A plain table; columns that begin with `>` are right-aligned."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for each in columns:
        made.add_column(each.lstrip(">"), justify="right" if each.startswith(">") else "left", no_wrap=True)
    return made


def ram(size: int) -> str:
    """Memory as providers name it: `2 GB` is 2 GiB to them."""
    return f"{size / 2**30:g} GB"


def money(price: float) -> str:
    """`$18 a month`, `$0.42 a month`."""
    return f"${price:,.2f}".removesuffix(".00") + " a month"


def print_list(every: Sequence[Listed]) -> None:
    """Write one line a droplet."""
    console = Screen()
    if not every:
        console.print("the account has no droplets")
        return
    made = table("stack", "name", ">number", "state", "size", ">memory", ">$/month", "region", "address")
    for each in every:
        it = each.droplet
        made.add_row(
            each.stack or Text("–", style="dim"),
            it.name,
            str(it.id),
            _state(it),
            it.size,
            ram(it.memory),
            f"{it.price:g}",
            it.region,
            it.address,
        )
    console.print(made)


def _state(droplet: CloudDroplet) -> Text:
    busy = " (busy)" if droplet.locked else ""
    return Text(droplet.status + busy, style=_STATES.get(droplet.status, ""))


def print_shown(name: str, shown: Shown) -> None:
    """Write everything about one droplet."""
    console = Screen()
    it = shown.droplet
    console.say(Text.assemble((name, "bold"), f"  {it.name}, number {it.id}  ", _state(it)))
    facts = table("", "")
    facts.show_header = False
    facts.add_row("size", f"{it.size}: {ram(it.memory)}, {it.vcpus} vCPU, disk {show_size(it.disk)}")
    facts.add_row("price", money(it.price))
    facts.add_row("region", it.region)
    facts.add_row("address", ", ".join(filter(None, (it.address, it.private_address))) or "none")
    facts.add_row("created", _when(it.created))
    facts.add_row("tags", ", ".join(it.tags) or "none")
    facts.add_row("volumes", ", ".join(f"{each.name} {show_size(each.size)}" for each in shown.volumes) or "none")
    facts.add_row("console", it.console)
    console.print(facts)
    _snapshots(console, shown)
    _actions(console, shown)


def _snapshots(console: Screen, shown: Shown) -> None:
    count = len(shown.snapshots)
    cost = f", about {money(shown.snapshots_price)}" if count else ""
    console.print(Text(f"\n{count or 'no'} snapshot{'s' * (count != 1)}{cost}", style="bold"))
    made = table("  name", "of", ">size", "made", "number")
    names = {each.id: each.name for each in shown.volumes}
    for each in shown.snapshots[-12:]:
        of = "disk" if each.of_kind == "droplet" else names.get(each.of, each.of)
        made.add_row(f"  {each.name}", of, show_size(each.size), _when(each.created), each.id)
    if count:
        console.print(made)


def _when(stamp: str) -> str:
    """`2026-11-20 23:23` of the provider's UTC."""
    return stamp[:16].replace("T", " ")


def _actions(console: Screen, shown: Shown) -> None:
    if not shown.actions:
        return
    console.print(Text("\nlast actions", style="bold"))
    made = table("  what", "state", "begun", "over", "number")
    for each in shown.actions:
        style = {"errored": "bold red", "in-progress": "yellow"}.get(each.status, "")
        made.add_row(
            f"  {each.kind}", Text(each.status, style=style), _when(each.started), _when(each.completed), str(each.id)
        )
    console.print(made)


def print_sizes(name: str, offered: Offered) -> None:
    """Write the sizes, with what each costs more."""
    console = Screen()
    it = offered.droplet
    console.print(Text.assemble((name, "bold"), f"  {it.size} in {it.region}, {money(it.price)}"))
    made = table("size", ">memory", ">vCPU", ">disk", ">$/month", ">difference", "kind")
    for each in offered.sizes:
        more = each.price - it.price
        difference = "now" if each.slug == it.size else f"{more:+g}"
        style = "bold" if each.slug == it.size else ""
        made.add_row(
            each.slug,
            ram(each.memory),
            str(each.vcpus),
            show_size(each.disk),
            f"{each.price:g}",
            difference,
            each.kind,
            style=style,
        )
    console.print(made)


def print_advice(name: str, advice: SizeAdvice) -> None:
    """Write each rule and what follows."""
    console = Screen()
    console.say(Text.assemble((name, "bold"), f"  {advice.size}, {money(advice.price)}"))
    for rule in advice.rules:
        _rule(console, rule)
    console.say(Text(f"\n{advice.verdict}", style="bold"))
    if advice.command:
        console.whole(Text(f"  {advice.command}"))


def _rule(console: Screen, rule: Advice) -> None:
    word, style = {True: ("yes", "bold yellow"), False: ("no", "green"), None: ("not known", "dim")}[rule.speaks]
    console.say(Text.assemble("  ", f"{rule.rule}? ", (word, style), (f": {rule.text}", "dim")))
    if rule.missing:
        console.say(Text(f"      {rule.missing}", style="dim"))
