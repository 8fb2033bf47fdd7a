"""`opsctl sandbox break` and `mend`: faults on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from opsctl.cli.options import JsonOption
from opsctl.cli.output import finish
from opsctl.cli.process import Process
from opsctl.model.errors import UsageError
from opsctl.model.result import CommandResult, DropletResult
from opsctl.model.units import parse_duration
from opsctl.sandbox import fleet
from opsctl.sandbox.breakage_faults import FAULTS, Options
from opsctl.sandbox.breakage_record import Broken

NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Which sandbox; else $OPSCTL_STACK's, or the only one there is."),
]
OneOption = Annotated[str | None, typer.Option("-d", "--droplet", metavar="NAME", help="Which of several.")]


@dataclass(frozen=True)
class Mended:
    """What was undone on one droplet."""

    mended: tuple[Broken, ...]


@dataclass(frozen=True)
class Breakage:
    """One way to break a droplet, as `--list` shows it."""

    what: str
    help: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Breakages:
    """Every way."""

    breakages: tuple[Breakage, ...]


def register(app: typer.Typer, chosen: Callable[[str | None], str], progress: Callable[[str], None]) -> None:
    """Add both commands to the group. `chosen` finds the sandbox that a call without --name is about."""

    @app.command("break")
    def break_(
        ctx: typer.Context,
        what: Annotated[str | None, typer.Argument(metavar="WHAT", help="How; --list shows all.")] = None,
        name: NameOption = None,
        droplet: OneOption = None,
        service: Annotated[str | None, typer.Option("--service", metavar="S", help="Break this service.")] = None,
        victim: Annotated[
            str | None, typer.Option("--victim", metavar="S", help="oom: whom the kernel is to kill.")
        ] = None,
        delay: Annotated[
            str | None, typer.Option("--delay", metavar="TIME", help="slow-network: each way; 20ms.")
        ] = None,
        by: Annotated[str | None, typer.Option("--by", metavar="TIME", help="clock-skew: 5m, or -5m.")] = None,
        lasting: Annotated[bool, typer.Option("--lasting", help="docker-down: also after a reboot.")] = False,
        listing: Annotated[bool, typer.Option("--list", help="Show every way, and what each can be told.")] = False,
        as_json: JsonOption = False,
    ) -> int:
        """Break a droplet in a way droplets fail: really, and so that `mend` undoes it."""
        process: Process = ctx.obj
        if listing:
            return _list(as_json)
        if what is None:
            raise UsageError("break what?", why=", ".join(FAULTS), next="opsctl sandbox break --list")
        options = Options(service, victim, _seconds("--delay", delay), _seconds("--by", by), lasting)
        sandbox = chosen(name)
        which = f" --name {sandbox}" if len(fleet.names()) > 1 else ""
        where, broken = fleet.break_(sandbox, droplet, what, options, progress, process.cancel)
        result = CommandResult((DropletResult(where, broken),))
        return finish("sandbox.break", result, as_json=as_json, render=lambda each: _render_broken(each, which))

    @app.command()
    def mend(
        ctx: typer.Context,
        what: Annotated[str | None, typer.Argument(metavar="WHAT", help="Only this; else all that is broken.")] = None,
        name: NameOption = None,
        droplet: OneOption = None,
        as_json: JsonOption = False,
    ) -> int:
        """Undo what `break` did, and nothing else."""
        process: Process = ctx.obj
        done = fleet.mend(chosen(name), droplet, what, progress, process.cancel)
        result = CommandResult(tuple(DropletResult(each, Mended(mended)) for each, mended in done))
        return finish("sandbox.mend", result, as_json=as_json, render=_render_mended)


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration(text.removeprefix("-")) * (-1 if text.startswith("-") else 1)
    except ValueError as error:
        raise UsageError(f"{option} {text}", why=str(error), next="opsctl sandbox break --list") from None
    if seconds == 0 or (option == "--delay" and not 0 < seconds <= 5):
        raise UsageError(f"{option} {text} is out of range", why="a delay is above 0 and at most 5s, a skew is not 0")
    return seconds


def _list(as_json: bool) -> int:
    found = tuple(
        Breakage(each.name, each.help, tuple("--by" if word == "skew" else f"--{word}" for word in sorted(each.takes)))
        for each in FAULTS.values()
    )
    result = CommandResult((DropletResult("sandbox", Breakages(found)),))
    return finish("sandbox.breakages", result, as_json=as_json, render=_render_list)


def _render_list(shown: DropletResult[Breakages]) -> None:
    from opsctl.render.screen import hanging

    for each in shown.result.breakages if shown.result else ():
        typer.echo(f"{typer.style(f'{each.what:<13}', bold=True)} {hanging(each.help, 14)}")


def _render_broken(shown: DropletResult[Broken], which: str) -> None:
    if shown.result is not None:
        typer.echo(f"✓ {shown.name}  broken, {shown.result.what}: {shown.result.detail}")
        typer.echo(f"  undo   opsctl sandbox mend {shown.result.what}{which}", err=True)


def _render_mended(shown: DropletResult[Mended]) -> None:
    for each in shown.result.mended if shown.result else ():
        typer.echo(f"✓ {shown.name}  {each.what}{f' of {each.service}' if each.service else ''}: mended")
    if shown.result is not None and not shown.result.mended:
        typer.echo(f"✓ {shown.name}  nothing is broken there")
