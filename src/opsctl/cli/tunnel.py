"""`opsctl tunnel`: a service's port, reached from here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.cli import commands
from opsctl.cli.context import Context, Session
from opsctl.cli.options import DropletOption, StackOption, VerboseOption
from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from opsctl.jobs.tunnel import Tunnel, Wish

_LOOK_EVERY = 10.0  # seconds between two looks at whether the connection still lives


def tunnel(
    ctx: typer.Context,
    services: Annotated[list[str], typer.Argument(metavar="SERVICE[:PORT]", help="What to reach; several at once.")],
    local: Annotated[
        int | None, typer.Option("--local", "-l", metavar="PORT", help="Port here (one tunnel only); else a free one.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run CMD with $OPSCTL_TUNNEL, $OPSCTL_<SERVICE> and end with it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The addresses as one JSON document.")] = False,
    stack: StackOption = None,
    droplets: DropletOption = None,
    verbose: VerboseOption = 0,
) -> None:
    """Reach a service's port from here.

    Over the SSH connection, to the port published on the droplet, else to the
    container's own address: nothing needs to be open to the internet. A
    connection that breaks is made anew. Ctrl-C ends it (exit 0).

    For one command: opsctl tunnel redis --exec 'redis-cli -p $OPSCTL_REDIS_PORT'
    """
    from opsctl.jobs.tunnel import parse_wish

    context = Context(ctx, stack=stack, droplets=droplets, verbose=verbose)
    wishes = [parse_wish(each) for each in services]
    if local is not None and len(wishes) > 1:
        raise UsageError("--local is for one tunnel", why=f"{len(wishes)} were asked for", next="leave --local out")
    with context.session(context.one()) as session, ExitStack() as opened:
        tunnels = _open(session, wishes, local, opened)
        if command is not None:
            raise typer.Exit(_run(command, tunnels))
        _show(session.droplet.name, tunnels, as_json=as_json)
        code = _hold(session)
    raise typer.Exit(code)


def _open(session: Session, wishes: Sequence[Wish], local: int | None, opened: ExitStack) -> list[Tunnel]:
    from opsctl.jobs.containers import read
    from opsctl.jobs.tunnel import Tunnel, find
    from opsctl.render.tunnel import warn_silent

    containers = read(session.reads, session.stack, session.droplet, cancel=session.cancel)
    tunnels = []
    for wish in wishes:
        service = session.stack.services.get(wish.name)
        target = find(session.reads, containers, wish, service, session.droplet, cancel=session.cancel)
        if not target.answers:
            warn_silent(target.service, target.port)
        there = opened.enter_context(session.host.forward(target.host, target.host_port, local_port=local))
        tunnels.append(Tunnel(target, there.host or there.path, there.port))
    return tunnels


def _show(droplet: str, tunnels: Sequence[Tunnel], *, as_json: bool) -> None:
    from opsctl.jobs.tunnel import Opened

    if as_json:
        from opsctl.cli.output import document, print_json
        from opsctl.model.result import CommandResult, DropletResult

        print_json(document("tunnel", CommandResult((DropletResult(droplet, Opened(tuple(tunnels))),))))
        return
    from opsctl.render.tunnel import print_tunnels

    print_tunnels([(each.target.service, each.target.port, each.local) for each in tunnels])


def _hold(session: Session) -> int:
    """Wait for the end. Ctrl-C is how a tunnel ends: 0; other signals keep their code.

    The look at the droplet makes a broken connection anew. Raises UnreachableError when that cannot be done.
    """
    from opsctl.model.ports import Script

    try:
        while not session.cancel.wait(_LOOK_EVERY):
            session.host.run(Script.of("true"), cancel=session.cancel, timeout=30)
    except Interrupted:
        pass
    return 0 if session.cancel.signum == 2 else 128 + session.cancel.signum


def _run(command: str, tunnels: Sequence[Tunnel]) -> int:
    """Run a command with the addresses in its environment; its exit status (128 + n after signal n)."""
    from opsctl.jobs.tunnel import environment

    sys.stdout.flush()
    shell = os.environ.get("SHELL") or "/bin/sh"
    child = subprocess.Popen([shell, "-c", command], env={**os.environ, **environment(tunnels)})
    waiting = Cancel()
    while (status := child.poll()) is None:  # Ctrl-C reaches the child too: it decides when to end
        waiting.wait(0.05)
    return status if status >= 0 else 128 - status


def register(app: typer.Typer) -> None:
    """Add `tunnel`."""
    app.command("tunnel", rich_help_panel=commands.DAILY)(tunnel)
