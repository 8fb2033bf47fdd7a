"""Make the README's pictures from real runs: each command in a real terminal (tmux), its screen as SVG.

`OPSCTL_STACK=… python docs/pictures.py [NAME…]`, on a sandbox droplet whose services are stopped.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH = 100
SCREENS = {
    "startup": ["startup", "--phase", "2"],
    "status": ["status"],
    "memory-report": ["memory", "report"],
}


def tmux(*words: str) -> str:
    """One tmux command on a server of our own."""
    return subprocess.run(["tmux", "-L", "opsctl-pictures", *words], capture_output=True, text=True, check=True).stdout


def screen(words: list[str]) -> str:
    """Type a command in a terminal; the screen with its colours when the command is over."""
    binary = shlex.quote(str(Path(sys.executable).parent / "opsctl"))
    line = f"{binary} {shlex.join(words)}; tmux -L opsctl-pictures wait-for -S done; sleep 30"
    stack = f"OPSCTL_STACK={os.environ['OPSCTL_STACK']}"
    tmux("new-session", "-d", "-x", str(WIDTH), "-y", "120", "-e", stack, "-e", "COLORTERM=truecolor", line)
    try:
        subprocess.run(["tmux", "-L", "opsctl-pictures", "wait-for", "done"], check=True, timeout=180)
        time.sleep(0.3)  # tmux draws what it has read after the fact
        return tmux("capture-pane", "-p", "-e")
    finally:
        tmux("kill-server")


def main() -> None:
    """Write docs/pictures/NAME.svg for each screen."""
    chosen = sys.argv[1:] or list(SCREENS)
    for name in chosen:
        shown = screen(SCREENS[name]).rstrip()
        console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
        console.print(Text.assemble(("$ ", "bold green"), (f"opsctl {shlex.join(SCREENS[name])}", "bold")))
        console.print(Text.from_ansi(shown))
        target = HERE / "pictures" / f"{name}.svg"
        target.parent.mkdir(exist_ok=True)
        target.write_text(console.export_svg(title=f"opsctl {shlex.join(SCREENS[name])}"))
        print(f"wrote {target.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
