"""An error as a person reads it: what, why, next."""

from __future__ import annotations

import sys

from rich.text import Text

from opsctl.model.errors import ErrorInfo
from opsctl.render.screen import Screen


def print_error(info: ErrorInfo, *, droplet: str = "") -> None:
    """Write one error block to stderr."""
    console = Screen(stderr=True)
    where = f"{info.path}:{info.line}: " if info.path and info.line else f"{info.path}: " if info.path else ""
    head = Text.assemble(("✗ ", "bold red"), (f"{droplet}: " if droplet else "", "bold"), (where, "cyan"), info.what)
    console.say(head)
    for label, text, write, style in (("why", info.why, console.say, ""), ("next", info.next, console.whole, "bold")):
        for number, line in enumerate(text.splitlines()):
            write(Text.assemble((f"  {label if number == 0 else '':<5}", "dim"), (line, style)))
    sys.stderr.flush()
