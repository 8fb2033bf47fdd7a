"""Which container a name means: one cheap read that works also when the compose file does not."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, UnreachableError, UsageError
from opsctl.model.ports import Script, Shell
from opsctl.model.stack import Droplet, Stack

_FIELDS = (
    "{{.ID}}",
    "{{.Names}}",
    "{{.State}}",
    "{{.Status}}",
    "{{.Image}}",
    *(
        f'{{{{.Label "com.docker.compose.{label}"}}}}'
        for label in ("project", "service", "oneoff", "project.config_files")
    ),
)
# $1: the engine's socket, or nothing
USE_SOCKET = '[ -z "$1" ] || export DOCKER_HOST="unix://$1"; shift'
_LIST = USE_SOCKET + '\nexec docker ps -a --no-trunc --format "$1"'


@dataclass(frozen=True)
class Found:
    """One container as `docker ps` lists it. `status` is the engine's sentence ("Up 2 hours (healthy)")."""

    id: str
    name: str
    state: str
    status: str
    image: str
    project: str
    service: str
    oneoff: bool
    config_files: tuple[str, ...]

    @property
    def label(self) -> str:
        """What a person calls it: its service, or its own name outside compose and for one-offs."""
        return self.service if self.service and not self.oneoff else self.name


@dataclass(frozen=True)
class Containers:
    """All containers of a droplet, and which compose project is the stack's ("" when none can be told)."""

    found: tuple[Found, ...]
    project: str
    services: tuple[str, ...]  # what the stack file names

    def of_stack(self) -> tuple[Found, ...]:
        """The stack's own containers, one-offs left out; all containers where no project can be told."""
        own = tuple(each for each in self.found if each.project == self.project and not each.oneoff)
        return own if self.project else self.found

    def named(self, name: str) -> tuple[Found, ...]:
        """The containers that `name` means: a service of the stack, a container's name, or the start of its id.

        Raises UsageError with the nearest names, OpsError for a service that has no container yet.
        """
        for chosen in (
            [each for each in self.of_stack() if each.service == name],
            [each for each in self.found if each.name == name],
            [each for each in self.found if len(name) >= 6 and each.id.startswith(name)],
            [each for each in self.found if each.service == name and not each.oneoff],
        ):
            if chosen:
                return tuple(chosen)
        if name in self.services:
            raise OpsError(
                f"{name} has no container yet", why="it was never created", next=f"opsctl startup --only {name}"
            )
        raise self._unknown(name)

    def _unknown(self, name: str) -> UsageError:
        own = {each.id for each in self.of_stack() if each.service}
        known = sorted({*self.services, *(each.label if each.id in own else each.name for each in self.found)})
        near = difflib.get_close_matches(name, {*known, *(each.name for each in self.found)}, n=3, cutoff=0.5)
        return UsageError(
            f"no service or container is called {name!r}",
            why=f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(known) or 'none'}",
            next="opsctl status",
        )


def running(found: Found) -> Found:
    """The container itself if commands can run in it. Raises OpsError with what to type otherwise."""
    if found.state == "running":
        return found
    raise OpsError(
        f"{found.label} is not running",
        why=f"its container {found.name} is {found.state}: {found.status}",
        next=_revive(found),
    )


def _revive(found: Found) -> str:
    if found.state == "restarting":
        return f"opsctl logs {found.label} --since 10m"
    if found.state == "paused":
        return f"on the droplet: docker unpause {found.name}"
    return f"opsctl startup --only {found.label}" if found.service else f"on the droplet: docker start {found.name}"


def read(shell: Shell, stack: Stack, droplet: Droplet, *, cancel: Cancel) -> Containers:
    """List the containers of a droplet. Raises UnreachableError when its engine does not answer."""
    done = shell.run(Script(_LIST, (droplet.socket or "", "\t".join(_FIELDS))), cancel=cancel, timeout=30)
    if done.code != 0:
        raise engine_error(done.code, done.error_text)
    found = tuple(parse(done.text))
    return Containers(found, stack_project(found, stack, droplet), tuple(stack.services))


def parse(text: str) -> Iterable[Found]:
    """The lines of the listing; a line that is none is left out."""
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) != len(_FIELDS):
            continue
        ident, name, state, status, image, project, service, oneoff, files = parts
        paths = tuple(each for each in files.split(",") if each)
        yield Found(ident, name, state, status, image, project, service, oneoff.lower() == "true", paths)


def stack_project(found: Sequence[Found], stack: Stack, droplet: Droplet) -> str:
    """The stack's compose project: named, else of its compose file, else the one that holds most of its services."""
    if droplet.project:
        return droplet.project
    wanted = set(droplet.compose)
    for each in found:
        if wanted & set(each.config_files):
            return each.project
    if stack.services:
        known = {(each.project, each.service) for each in found if not each.oneoff and each.service in stack.services}
        votes = Counter(project for project, _ in known)
        return min(votes, key=lambda project: (-votes[project], project), default="")
    projects = {each.project for each in found if each.project}
    return projects.pop() if len(projects) == 1 else ""


def engine_error(code: int, text: str) -> OpsError:
    """What a failed `docker` command says, with what mends it."""
    lowered = text.lower()
    last = text.splitlines()[-1] if text else f"docker ended with status {code}"
    if code == 127:
        return UnreachableError(
            "Docker is not installed on this droplet", why=last, next="opsctl doctor", code="no-docker"
        )
    if "permission denied" in lowered:
        return UnreachableError(
            "this user may not use Docker's socket",
            why=last,
            next="sudo usermod -aG docker $USER   (then log in again), or `docker: {sudo: always}` in the stack file",
            code="socket-permission",
        )
    if "cannot connect to the docker daemon" in lowered or "is the docker daemon running" in lowered:
        return UnreachableError(
            "the Docker engine does not answer",
            why=last,
            next="opsctl recover   # starts the engine, then the services",
            code="engine-down",
        )
    return OpsError("docker could not do that", why=last, next="opsctl doctor")
