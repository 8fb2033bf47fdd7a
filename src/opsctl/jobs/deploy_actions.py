"""What a plan of `deploy` and `rollback` has beyond a startup's, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from opsctl.jobs.startup_actions import Expected
from opsctl.model.plan import Action


@dataclass(frozen=True)
class Room(Action):
    """Look before anything is touched whether what is to run fits when what it replaces is gone. Bytes."""

    kind: ClassVar[str] = "room"
    expected: tuple[Expected, ...]
    replaces: tuple[str, ...]  # container ids that go
    reserve: int
    enforce: bool = True


@dataclass(frozen=True)
class Adopt(Action):
    """Keep what is there now as a release, before it is changed."""

    kind: ClassVar[str] = "adopt"
    files: tuple[tuple[str, str], ...]  # kind, path
    git: dict[str, str] = field(default_factory=dict)  # the clean checkout that they are


@dataclass(frozen=True)
class Begin(Action):
    """Write the new release down before the first change. `up` are the services that shall run in the end."""

    kind: ClassVar[str] = "begin"
    source: str
    up: tuple[str, ...]
    git: dict[str, str] = field(default_factory=dict)
    release: str = ""  # an older one, to go back to
    restart: tuple[str, ...] = ()  # what must be started anew for the files it has mounted


@dataclass(frozen=True)
class Put(Action):
    """Put files: path, digest before, digest after, mode in octal."""

    kind: ClassVar[str] = "put"
    files: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True)
class PutBack(Action):
    """Put a release's files back: path, digest before, digest after."""

    kind: ClassVar[str] = "put-back"
    release: str
    kinds: tuple[str, ...]
    files: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class GitCheckout(Action):
    """Bring a git checkout on the droplet to a commit."""

    kind: ClassVar[str] = "checkout"
    top: str
    now: str
    commit: str
    remote: str
    ref: str
    ours: tuple[str, ...] = ()  # paths that may be overwritten: a release keeps them as they are


@dataclass(frozen=True)
class Retag(Action):
    """Let references mean a release's images again: pairs reference, image id."""

    kind: ClassVar[str] = "retag"
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FetchImages(Action):
    """Let compose pull or build images."""

    kind: ClassVar[str] = "images"
    verb: str  # pull or build
    services: tuple[str, ...]


@dataclass(frozen=True)
class Tidy(Action):
    """Remove (service, id) and rename (id, name) what a killed compose left half made."""

    kind: ClassVar[str] = "tidy"
    removes: tuple[tuple[str, str], ...]
    renames: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Recreate(Action):
    """Let compose recreate a service's container; the new one is started by a later step."""

    kind: ClassVar[str] = "recreate"
    service: str
    container: str
    why: str
    maybe: bool = False  # only if the image that is fetched is another one


@dataclass(frozen=True)
class RemoveOrphans(Action):
    """Remove the containers of services that left the file: pairs service, container id. Their volumes stay."""

    kind: ClassVar[str] = "orphans"
    containers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Finish(Action):
    """Keep what runs now as the current release."""

    kind: ClassVar[str] = "finish"
    files: tuple[tuple[str, str], ...]
    release: str = ""  # an older one that is in force again, instead of a new one
    after: tuple[str, ...] = ()  # steps that may fail, but must be over: what they recreate is kept, too
    meta: dict[str, Any] = field(default_factory=dict)
