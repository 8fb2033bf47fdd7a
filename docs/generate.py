"""Write or check the generated pages: the commands' reference and the JSON schemas.

`python docs/generate.py` fails where a page is not as the code says; `--write` makes it so.
"""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

import typer.main
from typer.cli import get_docs_for_click

from opsctl.cli import schema
from opsctl.cli.main import build
from opsctl.jobs import playbook_jobs
from opsctl.model import playbook_format
from opsctl.model.stackfile_jsonschema import json_schema

HERE = Path(__file__).parent


def reference() -> str:
    """docs/cli.md: every command with its arguments and options."""
    command = typer.main.get_command(build((), everything=True))
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="opsctl", title="Commands")
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(lines).strip() + "\n"


def pages() -> dict[Path, str]:
    """Every generated page with what should be in it."""
    made = {HERE / "cli.md": reference(), HERE / "schema" / "opsctl.schema.json": written(json_schema())}
    made[HERE / "schema" / "playbook.json"] = written(playbook_format.json_schema(playbook_jobs.SPECS))
    for name, document in schema.documents().items():
        made[HERE / "schema" / f"{name}.schema.json"] = written(document)
    return made


def written(document: dict[str, Any]) -> str:
    """A schema as it stands in its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write with --write, else show the differences; the exit status counts them."""
    write = "--write" in sys.argv[1:]
    stale = 0
    for path, wanted in pages().items():
        found = path.read_text() if path.exists() else ""
        if found == wanted:
            continue
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted)
            print(f"wrote {path.relative_to(HERE.parent)}")
            continue
        stale += 1
        difference = difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), str(path), "as the code says", lineterm=""
        )
        print("\n".join(list(difference)[:40]))
    if stale:
        print("run: nox -s docs -- --write")
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main())
