"""Which droplets a command is about: names of the stack, `all`, or an address nobody wrote down."""

from __future__ import annotations

from collections.abc import Sequence

from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile_problem import nearest


def choose_droplets(stack: Stack, names: Sequence[str] = (), *, changes: bool) -> tuple[Droplet, ...]:
    """The droplets of `-d`; without any the only one, or all of them where nothing is changed.

    Raises UsageError for a name the stack doesn't have and for a change that could mean several droplets,
    ConfigError where there is no droplet at all.
    """
    if not names:
        return _unnamed(stack, changes)
    chosen: dict[str, Droplet] = {}
    for name in names:
        found = _all(stack) if name == "all" and "all" not in stack.droplets else (_named(stack, name),)
        chosen |= {droplet.name: droplet for droplet in found}
    return tuple(chosen.values())


def _all(stack: Stack) -> tuple[Droplet, ...]:
    if not stack.droplets:
        raise _none(stack)
    return tuple(stack.droplets.values())


def _unnamed(stack: Stack, changes: bool) -> tuple[Droplet, ...]:
    droplets = _all(stack)
    if changes and len(droplets) > 1:
        raise UsageError(
            "which droplet?",
            why=f"the stack has {len(droplets)}: {', '.join(stack.droplets)}",
            next=f"add -d {droplets[0].name}, or -d all",
        )
    return droplets


def _named(stack: Stack, name: str) -> Droplet:
    if name in stack.droplets:
        return stack.droplets[name]
    for droplet in stack.droplets.values():
        if droplet.address == name:
            return droplet
    # Without a stack file any word may be a host that the SSH configuration knows.
    if stack.path is None or name == "local" or any(mark in name for mark in "@.:"):
        if name.startswith("-") or not name.strip() or any(character.isspace() for character in name):
            raise UsageError(
                f"{name!r} is not a droplet", why="expected a name, or user@host", next="opsctl config show"
            )
        return Droplet(name=name, address=name)
    near = nearest(name, stack.droplets)
    raise UsageError(
        f"no droplet named {name}" + (f' (did you mean "{near}"?)' if near else ""),
        why=f"the stack has {', '.join(stack.droplets) or 'none'}",
        next=f"add -d {near}" if near else "name one of these, or write user@host",
    )


def _none(stack: Stack) -> ConfigError:
    where = "there is no stack file" if stack.path is None else f"{stack.path} has no droplets"
    return ConfigError("no droplet to work on", why=where, next="opsctl init user@host, or add -d user@host")
