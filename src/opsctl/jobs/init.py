"""A first stack file from what is on a droplet: its compose file, what runs there, what that uses."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opsctl.jobs import containers
from opsctl.jobs.init_text import Draft, draft, text_of
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Engine, StackFacts
from opsctl.model.errors import ConfigError, OpsError, UsageError
from opsctl.model.memory_facts import MemoryReader, MemorySample
from opsctl.model.ports import Script, Shell
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile import merge
from opsctl.model.stackfile_load import read_stack

_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
# $1 how many files are enough to know that somebody has to choose; the rest: names of compose files
_LOOK = r"""
hostname -s 2>/dev/null || cat /etc/hostname; n=$1; shift
tests=(); for name; do tests+=(-o -name "$name"); done
find /opt /srv /home /root /var/www /docker "$PWD" -maxdepth 4 \
  \( -name node_modules -o -name vendor -o -name '.?*' \) -prune -o \
  -type f -size -1024k \( "${tests[@]:1}" \) -print 2>/dev/null | awk '!seen[$0]++' | head -n "$n"
"""
_ENOUGH = 40


@dataclass(frozen=True)
class InitResult:
    """The stack file that was made. `draft` is what was found, `written` whether it is on the disk."""

    path: str
    written: bool
    text: str
    draft: Draft


@dataclass(frozen=True)
class Wanted:
    """What the user said about the stack file; empty where it is to be found out."""

    output: Path
    force: bool = False
    project: str = ""
    compose: tuple[str, ...] = ()
    dry_run: bool = False


def check_output(wanted: Wanted) -> None:
    """Raise UsageError when the file is there and may not be replaced, or cannot be made; asks nobody else."""
    if wanted.dry_run:
        return
    if wanted.output.is_dir():
        raise UsageError(f"{wanted.output} is a folder", next=f"opsctl init --output {wanted.output / 'opsctl.yaml'}")
    if wanted.output.exists() and not wanted.force:
        raise UsageError(
            f"{wanted.output} is there already",
            why="init never replaces a file unless it is told to",
            next="add --force to replace it, --output FILE to write another, or --dry-run to look only",
        )
    if not wanted.output.parent.is_dir():
        raise UsageError(f"there is no folder {wanted.output.parent}", next=f"mkdir -p {wanted.output.parent}")


def init(
    shell: Shell,
    engine_for: Callable[[Droplet], Engine],
    reader: MemoryReader,
    droplet: Droplet,
    wanted: Wanted,
    *,
    made: str,
    cancel: Cancel,
) -> InitResult:
    """Look at a droplet and write its stack file; changes nothing there. `made` is a line for the file's head.

    Raises ConfigError where no compose file is found, UsageError where somebody has to choose one.
    """
    check_output(wanted)
    host, files = _look(shell, cancel)
    droplet = _chosen(shell, droplet, wanted, files, cancel)
    facts = engine_for(droplet).facts(cancel=cancel)
    named = replace(droplet, name=_droplet_name(droplet, host), compose=facts.compose_files, project=_project(facts))
    found = draft(named, facts, _merged(named, facts), _sample(shell, reader, cancel))
    text = text_of(found, made)
    _merged(named, facts, text)  # what was written must load again, and fit the compose file
    if not wanted.dry_run:
        _write(wanted.output, text)
    return InitResult(str(wanted.output), not wanted.dry_run, text, found)


def _look(shell: Shell, cancel: Cancel) -> tuple[str, list[str]]:
    done = shell.run(Script(_LOOK, (str(_ENOUGH), *_FILES)), cancel=cancel, timeout=20)
    host, *files = done.text.split("\n")
    return host.strip(), [line for line in files if line]


def _chosen(shell: Shell, droplet: Droplet, wanted: Wanted, files: Sequence[str], cancel: Cancel) -> Droplet:
    """The droplet with the project or the compose file that the stack is; asks the containers first, then the disk."""
    if compose := wanted.compose or droplet.compose:
        return replace(droplet, compose=compose, project=wanted.project or droplet.project)
    found = containers.read(shell, Stack(None, {droplet.name: droplet}, {}), droplet, cancel=cancel).found
    projects = Counter(each.project for each in found if each.project and not each.oneoff)
    if wanted.project:
        if wanted.project not in projects:
            near = f"there are {', '.join(sorted(projects))}" if projects else "no container belongs to any project"
            raise UsageError(
                f"no compose project {wanted.project} on {droplet.name}", why=near, next="opsctl init --help"
            )
        return replace(droplet, project=wanted.project)
    if len(projects) > 1:
        shown = ", ".join(f"{name} ({count} containers)" for name, count in projects.most_common())
        raise UsageError(
            f"{droplet.name} runs {len(projects)} compose projects",
            why=f"a stack file is about one of them: {shown}",
            next=f"opsctl init {droplet.address} --project {projects.most_common(1)[0][0]}",
        )
    if projects:
        return replace(droplet, project=next(iter(projects)))
    return replace(droplet, compose=(_only(droplet, files),))


def _only(droplet: Droplet, files: Sequence[str]) -> str:
    if not files:
        raise ConfigError(
            f"no compose file was found on {droplet.name}",
            why="no container there belongs to a compose project, and no compose file is in /opt, /srv, /home or /root",
            next=f"opsctl init {droplet.address} --compose /path/to/docker-compose.yml",
        )
    if len(files) > 1:
        raise UsageError(
            f"{len(files)} compose files on {droplet.name}, and no container that says which one is used",
            why=", ".join(files[:8]) + (", …" if len(files) > 8 else ""),
            next=f"opsctl init {droplet.address} --compose {files[0]}",
        )
    return files[0]


def _project(facts: StackFacts) -> str | None:
    """The project's name, unless compose comes to it by itself."""
    folder = Path(facts.compose_files[0]).parent.name if facts.compose_files else ""
    own = re.sub(r"[^a-z0-9_-]", "", folder.lower()).lstrip("_-")
    return None if facts.project == own else facts.project


def _droplet_name(droplet: Droplet, host: str) -> str:
    if droplet.name != droplet.address:
        return droplet.name  # it has a name in a stack file
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", host).strip("-.")
    return name if name and name != "all" else "droplet"


def _merged(droplet: Droplet, facts: StackFacts, text: str = "version: 1") -> Stack:
    name = Path(facts.compose_files[0]).name if facts.compose_files else "docker-compose.yml"
    stack = read_stack(text, Path("opsctl.yaml"), environ={})
    return merge(stack, facts.compose, compose_file=name)


def _sample(shell: Shell, reader: MemoryReader, cancel: Cancel) -> MemorySample | None:
    try:
        return reader.sample(shell, cancel=cancel)
    except OpsError:
        cancel.check()
        return None  # limits stand in; every line says where its figure comes from


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written", why=error.strerror or str(error), next="add --output FILE"
        ) from None
