"""Which env files compose reads on a droplet, each once whatever links lead to it, and which of them is meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from opsctl.jobs.call import Call
from opsctl.jobs.env_text import names
from opsctl.model.deploy import Survey
from opsctl.model.errors import ConfigError, StepFailed, UsageError
from opsctl.model.ports import Script

_READ = 'if [ -e "$1" ]; then exec cat -- "$1"; fi'
_REAL = 'for one; do readlink -f -- "$one" || printf "%s\\n" "$one"; done'


@dataclass(frozen=True)
class Where:
    """Which env file is meant: by its path or name, or as that of a service. "" where it is not said."""

    file: str = ""
    service: str = ""


@dataclass(frozen=True)
class EnvFiles:
    """The env files by path. `same` has, for each, all paths by which compose reads it."""

    used_by: Mapping[str, tuple[str, ...]]
    same: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def env_files(call: Call, survey: Survey) -> EnvFiles:
    """Every env file that compose reads here; two paths that lead to one file are one. Raises StepFailed."""
    named = _named(survey)
    answer = call.host.run(Script(_REAL, tuple(named)), cancel=call.cancel, timeout=30.0)
    if answer.code != 0:
        raise StepFailed("the env files cannot be looked up", why=answer.error_text, next="opsctl doctor")
    together: dict[str, list[str]] = {}
    for path, real in zip(named, answer.text.splitlines(), strict=True):
        together.setdefault(real, []).append(path)
    found = {(real if real in paths else paths[0]): paths for real, paths in together.items()}
    used_by = {path: tuple(dict.fromkeys(n for each in paths for n in named[each])) for path, paths in found.items()}
    return EnvFiles(used_by, {path: tuple(paths) for path, paths in found.items()})


def takers(survey: Survey, files: EnvFiles, path: str, variables: Collection[str]) -> tuple[str, ...]:
    """Of the services that use the file, those that take one of these variables from it.

    A service with the file as its `env_file` takes them all; for one that only has values put in, its text says which.
    """
    whole = {name for each, by in _whole(survey).items() if each in files.same[path] for name in by}
    named = {name for name, body in _services(survey).items() if _interpolated(body) & set(variables)}
    return tuple(name for name in files.used_by[path] if name in whole | named)


def _named(survey: Survey) -> dict[str, tuple[str, ...]]:
    """The env files as compose's files name them → the services that use them."""
    found = _whole(survey)
    by_name = {name for name, body in _services(survey).items() if _interpolated(body)}
    for path in survey.interpolates:
        found[path] = sorted({*found.get(path, ()), *by_name})
    return {path: tuple(by) for path, by in found.items()}


def _whole(survey: Survey) -> dict[str, list[str]]:
    """The files of `env_file:` → the services that have it."""
    compose = survey.facts.compose_files
    folder = compose[0].rpartition("/")[0] if compose else ""
    found: dict[str, list[str]] = {}
    for name, body in _services(survey).items():
        entries = (body or {}).get("env_file") or ()
        for each in [entries] if isinstance(entries, str) else entries:
            path = str(each.get("path") if isinstance(each, Mapping) else each)
            found.setdefault(path if path.startswith("/") else f"{folder}/{path}", []).append(name)
    return found


def _services(survey: Survey) -> Mapping[str, Any]:
    return survey.raw.get("services") or {}


def _interpolated(body: Any) -> set[str]:
    """The variables whose values compose puts into a service's text, or passes on where only their name is given."""
    given = (body or {}).get("environment") or ()
    pairs = given.items() if isinstance(given, Mapping) else ((str(each), None) for each in given)
    passed = {str(name) for name, value in pairs if value is None and "=" not in str(name)}
    return passed | set(re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", str(body).replace("$$", "")))


def the_file(call: Call, survey: Survey, known: EnvFiles, where: Where, name: str | None, *, must: bool = False) -> str:
    """The env file that is meant; `must`: it has the variable already.

    Raises UsageError where it cannot be told, ConfigError where there is none.
    """
    files, again = known.used_by, call.entry.command
    if not files:
        raise ConfigError(
            f"compose reads no env file on {call.droplet.name}",
            why="neither `env_file:` of a service nor a .env beside the compose file",
            next=f"add `env_file: /path/.env` to droplet {call.droplet.name} in the stack file",
        )
    if where.service and where.service not in survey.facts.compose:
        raise UsageError(
            f"there is no service {where.service}",
            why=f"the compose file has {', '.join(survey.facts.compose)}",
            next="opsctl status",
        )
    if where.file:
        found = [path for path in files if where.file in known.same[path]] or [
            path for path in files if where.file in {PurePosixPath(each).name for each in known.same[path]}
        ]
    elif where.service:
        found = [path for path, by in files.items() if where.service in by][-1:]
    else:
        found = [path for path in files if name is not None and name in names(text_of(call, path))]
        if must and not found:
            raise UsageError(f"{name} is in no env file", why=f"looked in {', '.join(files)}", next="opsctl env diff")
        preset = [path for path in files if set(call.droplet.env_file) & set(known.same[path])]
        found = found or preset[:1] or [path for path in files if text_of(call, path)] or list(files)
    if len(found) == 1:
        return found[0]
    what = "it cannot be told which env file is meant"
    if where.file and not found:
        what = f"{where.file} is no env file of this stack"
    elif where.service:
        what = f"{where.service} uses no env file"
    for option in ("--file", "--service"):
        again = re.sub(rf"\s{option}[ =]\S+", "", again)
    raise UsageError(what, why=f"compose reads {', '.join(files)}", next=f"{again} --file {next(iter(found or files))}")


def read(call: Call, path: str) -> bytes:
    """An env file's bytes; none where it is not there. Raises StepFailed."""
    answer = call.host.run(Script(_READ, (path,)), cancel=call.cancel, timeout=30.0)
    if answer.code != 0:
        raise StepFailed(f"{path} cannot be read", why=answer.error_text, next="opsctl doctor")
    return answer.stdout


def text_of(call: Call, path: str) -> str:
    """An env file's text."""
    return read(call, path).decode(errors="replace")
