"""A volume that moves, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from opsctl.model.units import show_duration, show_size
from opsctl.model.volumes import VolumeMoved
from opsctl.render.run import print_changed

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def print_moved(name: str, moved: VolumeMoved, *, redact: Callable[[str], str], many: bool = False) -> None:
    """Write what became of the data to stdout."""
    console = Console(highlight=False, soft_wrap=True)
    if many:
        console.print(Text(name, style="bold"))
    console.print(Text.assemble((moved.volume, "bold"), (f"  {moved.source} → {moved.target}", "dim")))
    if moved.state == "unchanged":
        console.print(Text(f"the data is in {moved.target} already, and nothing is to be done"))
        return
    for line in moved.change:
        console.print(Text(f"  {redact(line)}", style=_STYLES.get(line[:1], "dim")))
    run = moved.changed.run
    if run is None or moved.changed.services:
        console.print()
        print_changed(name, moved.changed, redact=redact)
    for step in run.steps if run is not None and not moved.changed.services else ():
        console.print(Text(f"{step.title}: {step.detail}  {show_duration(step.seconds)}"))
    if run is not None:
        _proof(console, moved)


def _proof(console: Console, moved: VolumeMoved) -> None:
    for side in moved.sides:
        text = f"  {side.place}  {side.files} files  {show_size(side.bytes)}  checksum {side.checksum}"
        console.print(Text(text))
    if moved.downtime is not None:
        names = ", ".join(moved.services)
        console.print(Text(f"{names} was away for {show_duration(moved.downtime)}", style="bold"))
    if moved.release:
        console.print(Text(f"release {moved.release}", style="dim"))
    if moved.state == "copied":
        text = "copied while in use, and nothing is switched: --switch stops, copies what has changed, proves, switches"
        console.print(Text(text, style="yellow"))
