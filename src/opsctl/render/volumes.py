"""A volume that moves, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from opsctl.model.units import show_duration, show_size
from opsctl.model.volumes import VolumeMoved
from opsctl.render.run import print_changed
from opsctl.render.screen import Screen

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def print_moved(name: str, moved: VolumeMoved, *, redact: Callable[[str], str], many: bool = False) -> None:
    """Write what became of the data to stdout."""
    console = Screen()
    if many:
        console.say(Text(name, style="bold"))
    console.say(Text.assemble((moved.volume, "bold"), (f"  {moved.source} → {moved.target}", "dim")))
    if moved.state == "unchanged":
        console.say(Text(f"the data is in {moved.target} already, and nothing is to be done"))
        return
    for line in moved.change:
        console.whole(Text(f"  {redact(line)}", style=_STYLES.get(line[:1], "dim")))
    run = moved.changed.run
    if run is None or moved.changed.services:
        console.print()
        print_changed(name, moved.changed, redact=redact)
    for step in run.steps if run is not None and not moved.changed.services else ():
        console.say(Text(f"{step.title}: {step.detail}  {show_duration(step.seconds)}"))
    if run is not None:
        _proof(console, moved)


def _proof(console: Screen, moved: VolumeMoved) -> None:
    for side in moved.sides:
        text = f"  {side.place}  {side.files} files  {show_size(side.bytes)}  checksum {side.checksum}"
        console.say(Text(text))
    if moved.downtime is not None:
        names = ", ".join(moved.services)
        console.say(Text(f"{names} was away for {show_duration(moved.downtime)}", style="bold"))
    if moved.release:
        console.say(Text(f"release {moved.release}", style="dim"))
    if moved.state == "copied":
        text = "copied while in use, and nothing is switched: --switch stops, copies what has changed, proves, switches"
        console.say(Text(text, style="yellow"))
