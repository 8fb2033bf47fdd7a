"""`opsctl sandbox`: a droplet on your laptop."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from opsctl.cli import sandbox_break, sandbox_cloud, sandbox_observability
from opsctl.cli.commands import SETUP
from opsctl.cli.options import JsonOption
from opsctl.cli.output import finish
from opsctl.cli.process import Process
from opsctl.model.errors import ConfigError, ExitCode, UsageError
from opsctl.model.result import CommandResult, DropletResult
from opsctl.model.units import parse_size, show_size
from opsctl.sandbox import fleet
from opsctl.sandbox.kinds import Condition, Power
from opsctl.sandbox.paths import state_dir

_LEAST = 512 * 1024**2
app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

NewNameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it, or which to mend.")]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Which sandbox; else $OPSCTL_STACK's, or the only one there is."),
]
SandboxStack = Literal["app", "vector"]
KindOption = Annotated[
    str, typer.Option("--kind", metavar="KIND", help="container, vm, or auto: the one that works here.")
]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="sandbox", help="A droplet on your laptop to try everything on.", rich_help_panel=SETUP)


@app.command()
def up(
    ctx: typer.Context,
    name: NewNameOption = "dev",
    kind: KindOption = "auto",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Several droplets: NAME-1, NAME-2, …")] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Of each droplet; 2GiB.")] = None,
    stack: Annotated[
        SandboxStack | None,
        typer.Option("--stack", help="vector: a droplet with Weaviate beside it, NAME-vector; else the agents alone."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Leave a sandbox running; builds what it needs at the first time, mends what is broken."""
    process: Process = ctx.obj
    size = _size(memory)
    found = fleet.up(name, None if kind == "auto" else kind, count, size, _progress, process.cancel, stack=stack)
    code = _show("sandbox.up", found, as_json)
    if not as_json:
        typer.echo(f"\nexport OPSCTL_STACK={found[0].stack_file}")
    return code


@app.command()
def down(
    ctx: typer.Context,
    name: NameOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every sandbox there is.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Also what was built: the next `up` builds anew.")] = False,
) -> int:
    """Take a sandbox away, with everything it left."""
    process: Process = ctx.obj
    for each in fleet.names() if everything else [_chosen(name)]:
        there = fleet.down(each, _progress, process.cancel)
        _progress(f"{each}: removed" if there else f"{each}: there is none")
    if purge:
        fleet.purge(_progress)
        _progress("the cache is removed")
    return ExitCode.DONE


@app.command()
def status(
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only this sandbox.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Which sandboxes there are, and how they are."""
    return _show("sandbox.status", fleet.status(name), as_json)


@app.command()
def reset(ctx: typer.Context, name: NameOption = None, as_json: JsonOption = False) -> int:
    """Make a sandbox's droplets anew; address, keys and stack file stay."""
    process: Process = ctx.obj
    return _show("sandbox.reset", fleet.reset(_chosen(name), _progress, process.cancel), as_json)


@app.command()
def reboot(
    ctx: typer.Context,
    name: NameOption = None,
    cycle: Annotated[bool, typer.Option("--power-cycle", help="Cut the power instead of asking.")] = False,
) -> int:
    """Start a sandbox's droplets again; what is on their disks stays."""
    process: Process = ctx.obj
    fleet.power(_chosen(name), Power.CYCLE if cycle else Power.REBOOT, _progress, process.cancel)
    return ExitCode.DONE


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def ssh(
    command: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]…", help="Without one: a shell.")] = None,
    name: NameOption = None,
    droplet: Annotated[str | None, typer.Option("-d", "--droplet", metavar="NAME", help="Which of several.")] = None,
    user: Annotated[str, typer.Option("--user", help="root, alex (sudo) or deploy (docker group).")] = "root",
) -> None:
    """Log in to a droplet with the system's ssh, or run a command there."""
    name = _chosen(name)
    sandbox = fleet.get(name)
    known = {spec.name: spec for spec in sandbox.droplets}
    chosen = known.get(droplet) if droplet is not None else sandbox.droplets[0]
    if chosen is None or (droplet is None and len(known) > 1):
        raise UsageError(
            f"sandbox {name} has no droplet {droplet!r}" if droplet else f"sandbox {name} has {len(known)} droplets",
            why=f"they are {', '.join(known)}",
            next=f"opsctl sandbox ssh --name {name} -d {next(iter(known))}",
        )
    argv = fleet.ssh_argv(sandbox, chosen, user)
    if shutil.which(argv[0]) is None:
        raise ConfigError("OpenSSH's client is not installed", next="sudo apt-get install openssh-client")
    sys.stdout.flush()
    os.execvp(argv[0], [*argv, *(command or [])])  # noqa: S606 - it is to take this process's place


def _chosen(name: str | None) -> str:
    """The sandbox that a call is about when it names none: guessing `dev` would hit somebody's other one."""
    if name is not None:
        return name
    stack = Path(os.environ.get("OPSCTL_STACK", "")).absolute()
    there = fleet.names()
    if stack.parent.parent == state_dir() and stack.parent.name in there:
        return stack.parent.name
    if len(there) > 1:
        raise UsageError(
            f"there are {len(there)} sandboxes", why=", ".join(there), next=f"add --name {there[0]}   (or another)"
        )
    return there[0] if there else "dev"


def _progress(text: str) -> None:
    typer.echo(f"  {text}", err=True)


sandbox_break.register(app, _chosen, _progress)
sandbox_observability.register(app, _chosen, _progress)
sandbox_cloud.add(app, _chosen)


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        raise UsageError(f"--memory {text}", why=str(error), next="opsctl sandbox up --memory 2GiB") from None
    if size < _LEAST:
        why = f"a droplet with an engine needs {show_size(_LEAST)} at least"
        raise UsageError(f"--memory {text} is too little", why=why, next="opsctl sandbox up --memory 2GiB")
    return size


def _show(command: str, found: Sequence[fleet.DropletStatus], as_json: bool) -> int:
    result = CommandResult(tuple(DropletResult(each.name, each) for each in found))
    if not found and not as_json:
        typer.echo("there is no sandbox; opsctl sandbox up makes one")
    return finish(command, result, as_json=as_json, render=_render)


def _render(droplet: DropletResult[fleet.DropletStatus]) -> None:
    seen = droplet.result
    if seen is None:
        return
    mark = "✓" if seen.condition is Condition.RUNNING else "✗"
    head = typer.style(f"{mark} {seen.name}", bold=True)
    typer.echo(f"{head}  {seen.condition.value} ({seen.kind}{', ' + seen.detail if seen.detail else ''})")
    for fault in seen.broken:
        typer.echo(f"  broken {fault.what}: {fault.detail} (since {fault.since}; opsctl sandbox mend {fault.what})")
    typer.echo(f"  stack  {seen.stack_file}")
    typer.echo(f"  ssh    {' '.join(seen.ssh)}")
    mends = f"does not answer: opsctl sandbox up --name {seen.sandbox} mends it"
    typer.echo(f"  cloud  {seen.cloud or mends}")
