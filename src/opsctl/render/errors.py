"""An error as a person reads it: what, why, next."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from opsctl.model.errors import ErrorInfo


def print_error(info: ErrorInfo, *, droplet: str = "") -> None:
    """Write one error block to stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    where = f"{info.path}:{info.line}: " if info.path and info.line else f"{info.path}: " if info.path else ""
    head = Text.assemble(("✗ ", "bold red"), (f"{droplet}: " if droplet else "", "bold"), (where, "cyan"), info.what)
    console.print(head)
    for label, text, style in (("why", info.why, ""), ("next", info.next, "bold")):
        lines = text.splitlines()
        for number, line in enumerate(lines):
            console.print(Text.assemble((f"  {label if number == 0 else '':<5}", "dim"), (line, style)))
    sys.stderr.flush()
