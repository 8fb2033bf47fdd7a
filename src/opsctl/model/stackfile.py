"""The stack file's front door: read, check, and with the droplets that the command line names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.stack import Droplet, Origin, Stack
from opsctl.model.stackfile_load import Learn, read_found
from opsctl.model.stackfile_merge import derive_phases, merge
from opsctl.model.stackfile_problem import nearest

__all__ = ["derive_phases", "load_stack", "merge", "with_droplets"]

ALL = "all"


def load_stack(
    path: Path | str | None = None,
    *,
    droplets: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    learn: Learn | None = None,
) -> Stack:
    """The stack in `path`, $OPSCTL_STACK, ./opsctl.yaml or /etc/opsctl/opsctl.yaml, with the droplets of `-d`.

    Without a stack file, `-d user@host` is the whole stack. `learn` is told every secret as it is resolved.
    Raises ConfigError with everything that is wrong in the file, or where there is no droplet at all, and UsageError
    for a droplet that the stack doesn't have.
    """
    stack = with_droplets(read_found(path, environ=environ, cwd=cwd, learn=learn), droplets)
    if not stack.droplets:
        why = f"{stack.path} has none" if stack.path else "there is no stack file, and -d was not given"
        raise ConfigError("no droplet to work on", why=why, next="opsctl init user@host   (or add -d user@host)")
    return stack


def with_droplets(stack: Stack, names: Sequence[str]) -> Stack:
    """The stack with an entry for every name of `-d`: an address that nobody wrote down becomes a droplet.

    Raises UsageError for a name that is neither in the stack nor an address.
    """
    added = {name: _droplet(stack, name) for name in names if name not in stack.droplets and name != ALL}
    origins = {f"droplets.{name}.address": Origin("--droplet") for name in added}
    return replace(stack, droplets={**stack.droplets, **added}, origins={**stack.origins, **origins})


def _droplet(stack: Stack, name: str) -> Droplet:
    for droplet in stack.droplets.values():
        if droplet.address == name:
            return droplet
    # Without a stack file any word may be a host that the SSH configuration knows.
    if stack.path is not None and name != "local" and not any(mark in name for mark in "@.:"):
        raise _unknown(stack, name)
    # A leading dash would be read as an option by ssh.
    if name.startswith("-") or not name or any(character.isspace() for character in name):
        raise UsageError(f"{name!r} is no droplet", why="expected a name or user@host", next="opsctl config show")
    return Droplet(name=name, address=name)


def _unknown(stack: Stack, name: str) -> UsageError:
    meant = nearest(name, stack.droplets)
    near = meant or (next(iter(stack.droplets)) if len(stack.droplets) == 1 else "")
    return UsageError(
        f"no droplet named {name}" + (f' (did you mean "{meant}"?)' if meant else ""),
        why=f"the stack has {', '.join(stack.droplets) or 'none'}",
        next=f"-d {near}" if near else "-d user@host for one that is not in the stack file",
    )
