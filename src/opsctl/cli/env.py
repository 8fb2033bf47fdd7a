"""`opsctl env`: the variables of a droplet's env files, by name; values only go in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context
from opsctl.cli.deploying import run
from opsctl.cli.options import (
    DropletOption,
    DryRunOption,
    JsonOption,
    StackOption,
    VerboseOption,
    WaitOption,
)
from opsctl.model.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsctl.jobs.call import Call
    from opsctl.model.deploy import EnvChanged, EnvDiff
    from opsctl.model.result import DropletResult
    from opsctl.model.secret import Secret

FileOption = Annotated[str, typer.Option("--file", metavar="PATH", help="Which env file on the droplet.")]
ServiceOption = Annotated[str, typer.Option("--service", metavar="SERVICE", help="The env file of this service.")]
_MOST = 64_000  # characters; an environment cannot hold more of one variable than 128 KiB


def diff(
    ctx: typer.Context,
    local: Annotated[
        Path | None, typer.Option("--with", metavar="FILE", help="Compare with this file here; else the release.")
    ] = None,
    file: FileOption = "",
    service: ServiceOption = "",
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Show what differs in the env files since the current release. Names only, never values.

    It also says which services run with something else than the files say.
    """
    from opsctl.model.errors import UsageError

    if local is not None and not local.is_file():
        raise UsageError(f"--with: {local} is not a file", next="opsctl env diff --with .env")
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    data = local.read_bytes() if local is not None else None
    many = len(context.droplets(reading=True)) > 1

    def job(call: Call) -> DropletResult[EnvDiff]:
        from opsctl.jobs.env import diff as compare
        from opsctl.jobs.env_files import Where

        return compare(call, Where(file, service), data)

    def render(each: DropletResult[EnvDiff]) -> None:
        from opsctl.render.env import print_env_diff

        if each.result is not None:
            print_env_diff(each.name, each.result, many=many)

    raise typer.Exit(run(context, "env.diff", job, render, as_json=as_json, reading=True))


def set_value(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The variable; its value comes over stdin.")],
    file: FileOption = "",
    service: ServiceOption = "",
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Set one variable. The value is read from stdin, or asked for on a terminal.

    Never from the arguments: others could read it there. The file is written
    whole, with mode 0600; services take it when they are recreated.
    """
    from opsctl.jobs.env_text import check_name

    check_name(name)
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)
    value = _value(name)
    context.redact.learn(value)

    def job(call: Call) -> DropletResult[EnvChanged]:
        from opsctl.jobs.env import set_value as put
        from opsctl.jobs.env_files import Where

        return put(call, name, value, Where(file, service))

    raise typer.Exit(_change(context, "env.set", job, as_json=as_json, dry_run=dry_run))


def unset(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The variable.")],
    file: FileOption = "",
    service: ServiceOption = "",
    wait: WaitOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Take one variable out of an env file.

    The file is written whole, with mode 0600; the services that had it notice
    when they are recreated.
    """
    from opsctl.jobs.env_text import check_name

    check_name(name)
    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose, wait=wait)

    def job(call: Call) -> DropletResult[EnvChanged]:
        from opsctl.jobs.env import unset as take
        from opsctl.jobs.env_files import Where

        return take(call, name, Where(file, service))

    raise typer.Exit(_change(context, "env.unset", job, as_json=as_json, dry_run=dry_run))


def _change(
    context: Context, command: str, job: Callable[[Call], DropletResult[EnvChanged]], *, as_json: bool, dry_run: bool
) -> ExitCode:
    many = len(context.droplets(reading=dry_run)) > 1

    def render(each: DropletResult[EnvChanged]) -> None:
        from opsctl.render.env import print_env_changed

        if each.result is not None:
            print_env_changed(each.name, each.result, many=many)

    return run(context, command, job, render, as_json=as_json, dry_run=dry_run, reading=dry_run)


def _value(name: str) -> Secret:
    """The value from a prompt or from stdin, one line end at its end left out. Raises UsageError for none."""
    from opsctl.model.errors import UsageError
    from opsctl.model.secret import Secret

    if sys.stdin is not None and sys.stdin.isatty():
        return Secret(typer.prompt(f"Value of {name}", hide_input=True, err=True))
    text = sys.stdin.read(_MOST + 1) if sys.stdin is not None else ""
    if not text:
        raise UsageError(
            f"no value of {name} came over stdin",
            why="there is no terminal to ask on, and stdin is empty",
            next=f'printf %s "$VALUE" | opsctl env set {name}',
        )
    if len(text) > _MOST:
        raise UsageError(f"the value of {name} is longer than {_MOST} characters", next="keep it in a file of its own")
    return Secret(text.removesuffix("\n").removesuffix("\r"))


def register(app: typer.Typer) -> None:
    """Add `env`."""
    group = typer.Typer(no_args_is_help=True)
    group.command("diff")(diff)
    group.command("set")(set_value)
    group.command("unset")(unset)
    app.add_typer(
        group, name="env", help="The variables of the droplet's env files, by name.", rich_help_panel=commands.SETUP
    )
