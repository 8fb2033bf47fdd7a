"""What `opsctl alert` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from opsctl.model.alerts import AlertCheck, AlertTest, Delivery
from opsctl.render.screen import Screen


def print_test(name: str, done: AlertTest) -> None:
    """Each way, and what came back."""
    console = Screen()
    console.print(Text(name, "bold"))
    _deliveries(console, done.deliveries)
    for note in done.notes:
        console.print(Text(f"  {note}", "dim"))


def print_check(name: str, done: AlertCheck) -> None:
    """What is wrong, and what was told."""
    console = Screen()
    if done.healthy:
        console.print(Text.assemble(("✓ ", "green"), (name, "bold"), "  all is well"))
    else:
        console.print(Text.assemble(("✗ ", "red"), (name, "bold"), f"  {len(done.problems)} not well"))
        for each in done.problems:
            console.print(Text(f"  {each.text}" + ("   (told when it lasts)" if done.tells and not each.told else "")))
            if each.next:
                console.whole(Text.assemble(("    next ", "dim"), (each.next.splitlines()[0], "bold")))
    if done.message:
        console.print(Text("  told:", "bold"))
        for line in done.message.splitlines():
            console.print(Text(f"    {line}"))
    _deliveries(console, done.sent)
    for note in done.notes:
        console.print(Text(f"  {note}", "yellow"))


def _deliveries(console: Screen, sent: Sequence[Delivery]) -> None:
    for each in sent:
        mark, style = ("✓", "green") if each.ok else ("✗", "red")
        word = "exit status" if each.way == "command" else "status"
        said = f"{word} {each.status}" if each.status is not None else each.error
        more = f": {each.error}" if each.error and each.status is not None else ""
        took = f"{each.seconds * 1000:.0f} ms"
        console.print(Text.assemble((f"  {mark} ", style), f"{each.way:<8} {each.to}  {said}{more}  {took}"))
