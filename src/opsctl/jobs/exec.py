"""Commands and shells inside a container, with the terminal and the exit status passed through."""

from __future__ import annotations

import os
from collections.abc import Sequence

from opsctl.jobs.containers import USE_SOCKET, Found
from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted, OpsError, UsageError
from opsctl.model.ports import Host, Script
from opsctl.model.stack import Droplet

# The client on the droplet has the mark in its arguments, what it started in the container in its environment.
_END = (
    USE_SOCKET
    + r"""
id=$1 mark=$2; shift 2
docker exec "$@" "$id" sh -c 'for p in /proc/[0-9]*; do
  case $(cat "$p/environ" 2>/dev/null) in *"$1"*) kill "${p#/proc/}" ;; esac; done' sh "$mark" 2>/dev/null
for p in /proc/[0-9]*; do
  case $(tr '\0' '\n' <"$p/cmdline" 2>/dev/null) in docker*"$mark"*) kill "${p#/proc/}" 2>/dev/null ;; esac
done
"""
)
_SHELL = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"


def exec_argv(
    found: Found,
    command: Sequence[str],
    droplet: Droplet,
    *,
    tty: bool,
    user: str | None = None,
    workdir: str | None = None,
    mark: str = "",
) -> tuple[str, ...]:
    """The `docker exec` that runs `command` in a container, with `mark` in its environment.

    Raises UsageError without a command.
    """
    if not command:
        raise UsageError(
            "no command was given", next=f"opsctl exec {found.label} -- ps aux   (or: opsctl shell {found.label})"
        )
    options = ["-it" if tty else "-i"]
    options += ["-u", user] if user else []
    options += ["-w", workdir] if workdir else []
    options += ["-e", mark] if mark else []
    return (*docker(droplet), "exec", *options, found.id, *command)


def run(
    host: Host,
    found: Found,
    command: Sequence[str],
    droplet: Droplet,
    *,
    tty: bool,
    user: str | None,
    workdir: str | None,
    cancel: Cancel,
) -> int:
    """Run a command with this process's stdin, stdout and stderr; its exit status.

    Without a terminal Docker passes no signal on: an interrupted command is ended from outside.
    """
    mark = "" if tty else f"OPSCTL_EXEC={os.urandom(8).hex()}"
    argv = exec_argv(found, command, droplet, tty=tty, user=user, workdir=workdir, mark=mark)
    try:
        return host.interactive(argv, tty=tty, cancel=cancel)
    except Interrupted:
        if mark:
            _end(host, found, droplet, mark, user)
        raise


def _end(host: Host, found: Found, droplet: Droplet, mark: str, user: str | None) -> None:
    script = Script(_END, (droplet.socket or "", found.id, mark, *(("-u", user) if user else ())))
    try:
        host.run(script, cancel=Cancel(5), timeout=5)
    except OpsError:
        return  # what interrupted us may have taken the connection too: there is nobody left to tell


def shell_argv(found: Found, droplet: Droplet, *, tty: bool, user: str | None = None) -> tuple[str, ...]:
    """The `docker exec` that opens bash in a container, else sh."""
    return exec_argv(found, ("sh", "-c", _SHELL), droplet, tty=tty, user=user)


def docker(droplet: Droplet) -> tuple[str, ...]:
    """The client, pointed at the droplet's socket where the stack file names one."""
    return ("docker", "-H", f"unix://{droplet.socket}") if droplet.socket else ("docker",)
