"""What a switch of services to another Qdrant does, while it does it."""

from __future__ import annotations

from rich.text import Text

from opsctl.render.screen import Screen


def print_step(text: str) -> None:
    """One line to stderr."""
    Screen(stderr=True).say(Text(text, style="dim"))
