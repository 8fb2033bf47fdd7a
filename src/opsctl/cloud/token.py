"""Where the provider's token comes from: a variable, a file that only its owner may read, or a command."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from opsctl.model.errors import ConfigError
from opsctl.model.secret import Secret
from opsctl.model.stackfile_vars import VariableError, run_command

VARIABLES = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN")


def find_token(provider: Mapping[str, str | int], *, environ: Mapping[str, str], folder: Path) -> Secret:
    """The token of a provider entry. Raises ConfigError where there is none, or where others could read it."""
    if "token_file" in provider:
        value = _from_file(Path(str(provider["token_file"])))
    elif "token_command" in provider:
        value = _from_command(str(provider["token_command"]), folder, environ)
    else:
        value = _from_environment(provider, environ)
    # Whoever can be made to send a line break sends headers of somebody else's choice.
    if not value.isascii() or any(each.isspace() or not each.isprintable() for each in value):
        raise ConfigError(
            "the provider's token is not a token", why="it has spaces or characters that no token has", next=_HOW
        )
    return Secret(value)


_HOW = "in the stack file: provider: {token_env: NAME}, {token_file: PATH} or {token_command: COMMAND}"


def _from_environment(provider: Mapping[str, str | int], environ: Mapping[str, str]) -> str:
    names = (str(provider["token_env"]),) if "token_env" in provider else VARIABLES
    for name in names:
        if value := environ.get(name, "").strip():
            return value
    raise ConfigError(
        "there is no token for the provider's API",
        why=f"{' and '.join('$' + name for name in names)} {'is' if len(names) == 1 else 'are'} not set",
        next=f"read -rs {names[0]} && export {names[0]}",
        code="no-token",
    )


def _from_file(path: Path) -> str:
    try:
        # Not blocked by a pipe that nobody writes to; what was looked at is what is read.
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check(path, os.fstat(number).st_mode)
            value = os.read(number, 4096).decode(errors="replace").strip()
        finally:
            os.close(number)
    except OSError as error:
        raise ConfigError(
            f"the token file {path} cannot be read", why=error.strerror or str(error), next=f"ls -l {path}"
        ) from None
    if not value:
        raise ConfigError(f"the token file {path} is empty", next=_HOW, code="no-token")
    return value


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path} is not a file", why="the provider's token is read from it", next=_HOW)
    if mode & 0o077:
        raise ConfigError(
            f"others can read {path}",
            why=f"its mode is {stat.S_IMODE(mode):04o}, and the provider's token is in it",
            next=f"chmod 600 {path}",
            code="token-exposed",
        )


def _from_command(command: str, folder: Path, environ: Mapping[str, str]) -> str:
    try:
        return run_command(command, folder, environ)
    except VariableError as error:
        raise ConfigError("token_command gave no token", why=str(error), next=error.expected, code="no-token") from None
