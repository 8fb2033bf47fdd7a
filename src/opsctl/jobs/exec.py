"""Commands and shells inside a container, with the terminal and the exit status passed through."""

from __future__ import annotations

from collections.abc import Sequence

from opsctl.jobs.containers import Found
from opsctl.model.errors import UsageError
from opsctl.model.stack import Droplet

_SHELL = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"


def exec_argv(
    found: Found,
    command: Sequence[str],
    droplet: Droplet,
    *,
    tty: bool,
    user: str | None = None,
    workdir: str | None = None,
) -> tuple[str, ...]:
    """The `docker exec` that runs `command` in a container. Raises UsageError without a command."""
    if not command:
        raise UsageError(
            "no command was given", next=f"opsctl exec {found.label} -- ps aux   (or: opsctl shell {found.label})"
        )
    options = ["-it" if tty else "-i"]
    options += ["-u", user] if user else []
    options += ["-w", workdir] if workdir else []
    return (*docker(droplet), "exec", *options, found.id, *command)


def shell_argv(found: Found, droplet: Droplet, *, tty: bool, user: str | None = None) -> tuple[str, ...]:
    """The `docker exec` that opens bash in a container, else sh."""
    return exec_argv(found, ("sh", "-c", _SHELL), droplet, tty=tty, user=user)


def docker(droplet: Droplet) -> tuple[str, ...]:
    """The client, pointed at the droplet's socket where the stack file names one."""
    return ("docker", "-H", f"unix://{droplet.socket}") if droplet.socket else ("docker",)
