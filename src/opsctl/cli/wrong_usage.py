"""What is said of wrong arguments in this tool's own form: what, why, and a whole command that is right."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from opsctl.model.errors import UsageError

_NAMES_DROPLET = ("-d", "--droplet", "--from-via", "--to-via", "--via", "--on")
_WITH_VALUE = ("-d", "--droplet", "--stack", "-u", "--user", "-w", "--workdir")  # of `exec`


def usage_error(wrong: Exception, argv: Sequence[str]) -> UsageError | None:
    """The error in our words; None for what is none of typer's about arguments.

    Typer exports none of their classes: they are known by what they carry.
    """
    said = getattr(wrong, "format_message", None)
    if said is None:
        return None
    path = getattr(getattr(wrong, "ctx", None), "command_path", "opsctl")
    param = getattr(wrong, "param", None)
    why = str(getattr(param, "help", None) or "")
    if type(wrong).__name__ == "MissingParameter" and param is not None:
        return UsageError(f"{_name(param)} is missing", why=why, next=f"{_typed(argv)} {_given(param, wrong)}")
    what = str(said()).strip().replace(": Value error, ", ": ", 1)  # pydantic's, in front of typer's own words
    what = what[:1].lower() + what[1:].rstrip(".")
    if getattr(wrong, "option_name", None) and path == "opsctl exec" and "--" not in argv:
        why = "options before -- are opsctl's own, those behind it the command's"
        return UsageError(what, why=why, next=f"put -- before the command: {_parted(argv)}")
    return UsageError(what, why=why, next=f"{path} --help")


def with_the_one_meant(error: UsageError, argv: Sequence[str]) -> None:
    """Where a droplet was named that is not there, and it is known which is meant: what was typed, with that one."""
    flag, _, near = error.info.next.partition(" ")
    if flag != "-d" or "@" in near:
        return
    wrong = error.info.what.removeprefix("no droplet named ").partition(" (")[0]
    glued = {f"-d{wrong}", *(f"{each}={wrong}" for each in _NAMES_DROPLET)}
    words = [
        f"{word.removesuffix(wrong)}{near}" if word in glued or (word == wrong and before in _NAMES_DROPLET) else word
        for before, word in zip(("", *argv), argv, strict=False)
    ]
    if words != [*argv]:
        error.info = replace(error.info, next=_typed(words))


def shows_help(wrong: Exception) -> bool:
    """Whether it stands for a group without a command, whose help has been shown."""
    return type(wrong).__name__ == "NoArgsIsHelpError"


def _name(param: Any) -> str:
    return str(param.opts[0]) if _is_option(param) else _metavar(param)


def _given(param: Any, wrong: Any) -> str:
    metavar = _metavar(param) or str(param.make_metavar(ctx=wrong.ctx))
    return f"{param.opts[0]} {metavar}" if _is_option(param) else metavar


def _metavar(param: Any) -> str:
    return str(param.metavar or ("" if _is_option(param) else param.name.upper()))


def _is_option(param: Any) -> bool:
    return str(param.param_type_name) == "option"


def _typed(argv: Sequence[str]) -> str:
    return shlex.join(["opsctl", *argv])


def _parted(argv: Sequence[str]) -> str:
    """The call of `exec` with `--` between the service and what is to be run there."""
    skip = False
    for number, word in enumerate(argv[1:], 1):
        if skip or word.startswith("-"):
            skip = word in _WITH_VALUE
            continue
        return _typed([*argv[: number + 1], "--", *argv[number + 1 :]])
    return "opsctl exec SERVICE -- CMD"
