"""What a switch of services to another Qdrant does, while it does it."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text


def print_step(text: str) -> None:
    """One line to stderr."""
    Console(file=sys.stderr, highlight=False).print(Text(text, style="dim"), soft_wrap=True)
