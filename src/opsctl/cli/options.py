"""The options that every command shares, as annotated types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_WHERE = "Where"
_HOW = "How"

StackOption = Annotated[
    Path | None,
    typer.Option(
        "--stack",
        metavar="FILE",
        help="Stack file; else $OPSCTL_STACK, ./opsctl.yaml, /etc/opsctl/opsctl.yaml.",
        rich_help_panel=_WHERE,
    ),
]
DropletOption = Annotated[
    list[str] | None,
    typer.Option(
        "-d",
        "--droplet",
        metavar="NAME",
        help="A droplet of the stack, user@host, local, or all; may be repeated.",
        rich_help_panel=_WHERE,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=_HOW)]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Real reads, no writes: show the plan.", rich_help_panel=_HOW)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to questions.", rich_help_panel=_HOW)]
ConfirmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--confirm",
        metavar="NAME",
        help="Answer a question that wants the droplet's name; may be repeated.",
        rich_help_panel=_HOW,
    ),
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="TIME",
        help="Wait so long (30s, 5m) for a lease that somebody else holds; without it exit 6 at once.",
        rich_help_panel=_HOW,
    ),
]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="[RUN]",
        help="Go on with the last run of this command that was cut short, or with that one.",
        rich_help_panel=_HOW,
    ),
]
VerboseOption = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="Say more; -vv shows tracebacks.", show_default=False, rich_help_panel=_HOW
    ),
]
