"""The main job on a sandbox droplet, as a person would type it; `nox -s demo` calls it. `--keep` leaves the droplet."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

OPSCTL = str(Path(sys.executable).parent / "opsctl")


def show(*words: str, stack: str | None = None) -> int:
    """Show a command, run it, and give its exit code."""
    print(f"\n$ {shlex.join(('opsctl', *words))}", flush=True)
    environment = {**os.environ, **({"OPSCTL_STACK": stack} if stack else {})}
    return subprocess.run([OPSCTL, *words], env=environment, check=False).returncode


def main() -> int:
    """A droplet, a phased start, what runs, where the memory goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the droplet running")
    parser.add_argument("--kind", choices=("auto", "container", "vm"), default="auto", help="how the droplet is made")
    asked = parser.parse_args()
    code = show("sandbox", "up", "--name", "demo", "--kind", asked.kind)
    if code:
        return code
    try:
        said = subprocess.run(
            [OPSCTL, "sandbox", "status", "--name", "demo", "--json"], capture_output=True, text=True, check=True
        )
        stack = json.loads(said.stdout)["droplets"][0]["result"]["stack_file"]
        for words in (("startup", "--phase", "2"), ("status",), ("memory", "report")):
            code = code or show(*words, stack=stack)
    finally:
        if not asked.keep:
            show("sandbox", "down", "--name", "demo")
    return code


if __name__ == "__main__":
    sys.exit(main())
