"""Where the sandbox keeps what it builds, and what it runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from opsctl.model.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def cache_dir() -> Path:
    """Builds, shared by all sandboxes: $OPSCTL_SANDBOX_CACHE, else below $XDG_CACHE_HOME."""
    return _folder("OPSCTL_SANDBOX_CACHE", "XDG_CACHE_HOME", "~/.cache")


def tools_dir() -> Path:
    """Programs that are built from source once, beside the sandboxes' cache."""
    return (Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "opsctl" / "tools").absolute()


def state_dir() -> Path:
    """Running sandboxes, a folder each: $OPSCTL_SANDBOX_STATE, else below $XDG_STATE_HOME."""
    return _folder("OPSCTL_SANDBOX_STATE", "XDG_STATE_HOME", "~/.local/state")


def sandbox_dir(name: str) -> Path:
    """The folder of one sandbox. Raises UsageError for a name that could not be a container's."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a sandbox",
            why="lower-case letters, digits and hyphens, 40 at most",
            next="opsctl sandbox up --name dev",
        )
    return state_dir() / name


def _folder(own: str, xdg: str, fallback: str) -> Path:
    if given := os.environ.get(own):
        return Path(given).expanduser().absolute()
    return (Path(os.environ.get(xdg) or fallback).expanduser() / "opsctl" / "sandbox").absolute()
