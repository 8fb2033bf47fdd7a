"""`opsctl sandbox cloud`: the stand-in for the provider's API, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from opsctl.cli.options import JsonOption
from opsctl.cli.output import finish
from opsctl.cli.sandbox_break import NameOption
from opsctl.model.errors import UsageError
from opsctl.model.result import CommandResult, DropletResult
from opsctl.sandbox import cloud, fleet
from opsctl.sandbox.cloud_state import FAULTS


@dataclass(frozen=True)
class CloudFaults:
    """Where the API is, where its token is, and the faults that are switched on (how often, or seconds)."""

    api: str
    token_file: str
    faults: dict[str, float]


def add(app: typer.Typer, chosen: Callable[[str | None], str]) -> None:
    """Add the group. `chosen` finds the sandbox that a call without --name is about."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    app.add_typer(group, name="cloud", help="The stand-in for the provider's API, and how it fails.")

    @group.callback()
    def cloud_group() -> None:
        """The stand-in for the provider's API, and how it fails."""

    @group.command(epilog="Faults: " + " · ".join(f"{name}: {text}" for name, text in FAULTS.items()))
    def faults(
        name: NameOption = None,
        wanted: Annotated[
            list[str] | None, typer.Option("--set", metavar="FAULT=N", help="429=2, errored=1, slow=0.5; 0 is off.")
        ] = None,
        clear: Annotated[bool, typer.Option("--clear", help="All off, and the times as they were.")] = False,
        as_json: JsonOption = False,
    ) -> int:
        """Show the faults of the provider's API that are switched on, or switch some."""
        switched = _parsed(wanted or [])
        sandbox = fleet.get(chosen(name))
        if clear:
            cloud.ask(sandbox.folder, sandbox.cloud_port, "DELETE", "/sandbox/faults")
        path = "/sandbox/faults"
        method = "PUT" if switched else "GET"
        said = cloud.ask(sandbox.folder, sandbox.cloud_port, method, path, switched or None)
        found = CloudFaults(
            f"http://127.0.0.1:{sandbox.cloud_port}", str(sandbox.folder / cloud.TOKEN), dict(said["faults"])
        )
        result = CommandResult((DropletResult(sandbox.name, found),))
        return finish("sandbox.cloud.faults", result, as_json=as_json, render=_render)


def _parsed(words: Sequence[str]) -> dict[str, float]:
    switched = {}
    for word in words:
        fault, _, number = word.partition("=")
        try:
            switched[fault] = float(number or 1)
        except ValueError:
            switched[fault] = -1.0
        if fault not in FAULTS or switched[fault] < 0:
            raise UsageError(
                f"--set {word}",
                why=f"a fault and a number: {', '.join(FAULTS)}",
                next="opsctl sandbox cloud faults --set 429=2",
            )
    return switched


def _render(droplet: DropletResult[CloudFaults]) -> None:
    found = droplet.result
    if found is None:
        return
    typer.echo(f"{typer.style(droplet.name, bold=True)}  {found.api}   token in {found.token_file}")
    for fault, number in found.faults.items():
        typer.echo(f"  {fault:<12} {number:g}   {FAULTS[fault]}")
