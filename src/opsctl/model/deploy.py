"""What a deploy decides from, and what it and its relatives leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.operate import DropletFacts, Operator
from opsctl.model.ports import Script
from opsctl.model.run import Changed, RunResult

FileKind = Literal["compose", "env", "config"]


@dataclass(frozen=True)
class Bundle:
    """Files to bring to a droplet, whole: path there → content and mode."""

    files: Mapping[str, tuple[bytes, int]]
    mended: tuple[str, ...] = ()  # whose CRLF line ends were mended
    left_out: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Source:
    """Where the new state comes from: pushed, a git ref on the host, a release, or what lies there already."""

    kind: Literal["push", "ref", "release", "place"]
    folder: str = ""
    bundle: Bundle | None = None
    ref: str = ""
    release: str = ""
    fetch: bool = True
    kinds: tuple[FileKind, ...] = ("compose", "config")  # of a release's files


@dataclass(frozen=True)
class StagedFile:
    """A file as it is and as it will be. Digests are SHA-256, "" for none; names of variables, never values."""

    path: str
    old: str
    new: str
    mode: str  # octal, of the file that is there
    kind: FileKind = "config"
    env: bool = False
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether putting it changes anything."""
        return self.old != self.new


@dataclass(frozen=True)
class Checkout:
    """A git checkout on the droplet and the commit it is to be at."""

    top: str
    now: str
    commit: str
    remote: str = ""
    subject: str = ""
    dirty: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleaseImage:
    """The image that a service ran with."""

    service: str
    ref: str
    id: str
    digest: str = ""


@dataclass(frozen=True)
class Release:
    """A state of the stack that is kept on the droplet."""

    id: str
    status: Literal["done", "begun"]
    current: bool
    at: str
    by: str
    origin: str  # where it was made from
    command: str
    plan: str
    source: str
    images: tuple[ReleaseImage, ...]
    files: tuple[str, ...]
    up: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()  # what must be started anew, should the run not come to its end
    git: Mapping[str, str] = field(default_factory=dict)
    moved: tuple[str, ...] = ()  # of the current one: files that have changed since, env files apart
    moved_env: tuple[str, ...] = ()
    back: bool = False  # a rollback to it has begun and did not end


@dataclass(frozen=True)
class HalfMade:
    """Containers that a killed compose left: to be removed (service, id), and to be renamed (id, name)."""

    removes: tuple[tuple[str, str], ...] = ()
    renames: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removes or self.renames)


@dataclass(frozen=True)
class Survey:
    """The droplet as it is and as it will be."""

    facts: DropletFacts  # as it will be, containers as they are
    hashes: Mapping[str, str]  # service → compose's hash of it as it will be
    old_model: Mapping[str, Any]  # the resolved configuration as it is; {} where there is none
    model: Mapping[str, Any]
    old_raw: Mapping[str, Any]  # before interpolation
    raw: Mapping[str, Any]
    files: tuple[StagedFile, ...]
    images: Mapping[str, str]  # reference → id
    volumes: Mapping[str, Mapping[str, Any]]
    mounts: Mapping[str, tuple[Mapping[str, Any], ...]]  # container id → what is mounted
    releases: tuple[Release, ...]
    checkout: Checkout | None = None
    half: HalfMade = field(default_factory=HalfMade)
    # container id → what it runs with, and the names of what its image brings of that
    envs: Mapping[str, tuple[Mapping[str, str], frozenset[str]]] = field(default_factory=dict, repr=False)
    interpolates: tuple[str, ...] = ()  # the env files whose values compose puts into the compose file
    kept_envs: tuple[StagedFile, ...] = ()  # going back: env files that stay as they are, and were others then


class Deployer(Operator, Protocol):
    """An engine that can also bring compose and files to another state."""

    def survey(self, source: Source, *, cancel: Cancel) -> Survey:
        """Read the droplet as it is and as it will be; changes nothing."""
        ...

    def keep_release(self, release: str, files: Sequence[tuple[str, str]], *, meta: str, adopt: bool) -> Script:
        """Keep what is there now as this release, and call it the current one."""
        ...

    def begin_release(self, release: str, *, meta: str) -> Script:
        """Write a release down before its first change."""
        ...

    def begin_rollback(self, release: str, restart: Sequence[str]) -> Script:
        """Write down that a rollback to this release begins."""
        ...

    def put_files(self, bundle: Bundle, olds: Mapping[str, str]) -> Script:
        """Put files, each whole; fails with 86 where one is neither as it was nor as it will be."""
        ...

    def put_release(self, release: str, kinds: Sequence[str], paths: Sequence[str]) -> Script:
        """Put a release's files back."""
        ...

    def checkout(self, checkout: Checkout, ref: str, ours: Sequence[str]) -> Script:
        """Bring a git checkout to a commit; the paths in `ours` may be overwritten."""
        ...

    def tidy(self, half: HalfMade) -> Script:
        """Remove and rename what a killed compose left."""
        ...

    def recreate(self, services: Sequence[str]) -> Script:
        """Let compose recreate what differs of these, in this order, without starting anything."""
        ...

    def fetch_images(self, verb: str, services: Sequence[str]) -> Script:
        """Let compose `pull` or `build` the images of services."""
        ...

    def retag(self, images: Sequence[tuple[str, str]]) -> Script:
        """Let references mean these images again."""
        ...

    def list_releases(self) -> Script:
        """List the releases that are kept; changes nothing."""
        ...

    def parse_releases(self, output: str) -> tuple[Release, ...]:
        """What `list_releases` printed, the newest first."""
        ...

    def emptiness(self, places: Sequence[str]) -> Script:
        """Say of each folder whether it holds anything: `place full|empty|unknown`."""
        ...


@dataclass(frozen=True)
class ServiceDiff:
    """What changes of one service, in words without secrets, and what that means for its container."""

    service: str
    action: str  # recreate, create, restart, remove, orphan, "" for nothing
    why: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Deployed:
    """What a deploy or a rollback did, or with `dry_run` would do."""

    source: str
    release: str  # "" where nothing was kept
    files: tuple[StagedFile, ...]
    services: tuple[ServiceDiff, ...]
    orphans: tuple[str, ...]
    changed: Changed
    rolled_back: Deployed | None = None


@dataclass(frozen=True)
class Releases:
    """The releases that a droplet keeps, the newest first."""

    releases: tuple[Release, ...]


@dataclass(frozen=True)
class EnvFile:
    """An env file of the droplet; names of variables, never values."""

    path: str
    used_by: tuple[str, ...]
    count: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class EnvDiff:
    """What differs in the env files. `since` is a release, the local file, or "" where there is none to compare."""

    since: str
    files: tuple[EnvFile, ...]
    recreate: tuple[str, ...]  # the services whose container runs with something else


@dataclass(frozen=True)
class EnvChanged:
    """What became of one variable; `outcome` is added, changed, removed, unchanged or failed."""

    dry_run: bool
    file: str
    name: str
    outcome: str
    recreate: tuple[str, ...]  # the services that take it only with a deploy
    run: RunResult | None
    running: tuple[str, ...] = ()  # of the services that use the file
    stopped: tuple[str, ...] = ()
