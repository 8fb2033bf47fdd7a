"""A stack, resolved: what the stack file, compose's x-opsctl and the defaults say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from opsctl.model.secret import Secret


@dataclass(frozen=True)
class Origin:
    """Where a value comes from; `line` counts from 1, 0 where there is none."""

    source: str  # "opsctl.yaml", "docker-compose.yml (x-opsctl)", "default", "--droplet", …
    line: int = 0


@dataclass(frozen=True)
class Gate:
    """What must hold before a service counts as up; every given probe must pass. Seconds for `within`.

    With none of them the service's own health check is used, else that it keeps running.
    """

    http: str | None = None  # ":8000/health" (published port, else the container's), or a path with the first port
    tcp: int | None = None  # a container port
    sql: str | None = None  # run with psql inside the container, over TCP
    command: tuple[str, ...] | None = None  # run inside the container; exit status 0 passes
    status: int | None = None  # the HTTP status wanted; any 2xx when None
    within: float = 60.0


@dataclass(frozen=True)
class Then:
    """A step after a service's gate."""

    kind: Literal["command", "sql", "opsctl"]
    # command: argv inside the container; sql: one path, in the stack's folder or absolute on the droplet
    # (`container:/path` inside the container); opsctl: the words after `opsctl`
    words: tuple[str, ...]
    within: float = 60.0


@dataclass(frozen=True)
class Service:
    """What opsctl knows of a service beyond compose. Bytes for `memory`; `phase` None is not started by phases."""

    name: str
    phase: int | None = None
    memory: int | None = None
    gate: Gate = field(default_factory=Gate)
    proof: tuple[str, ...] = ()
    then: tuple[Then, ...] = ()
    one_by_one: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Droplet:
    """A host of the stack. Bytes for `reserve`."""

    name: str
    address: str  # user@host[:port], host, or "local"
    key: str | None = None
    known_hosts: str | None = None
    compose: tuple[str, ...] = ()  # paths on the droplet; empty: read from container labels
    env_file: tuple[str, ...] = ()
    project: str | None = None
    reserve: int = 200_000_000
    sudo: Literal["auto", "always", "never"] = "auto"
    socket: str | None = None  # None is auto
    provider: Mapping[str, str | int] = field(default_factory=dict)
    boot: Literal["replay", "docker"] = "docker"
    services: tuple[str, ...] = ()  # of the stack's those that are here; empty: all that no other droplet names


@dataclass(frozen=True)
class Redundant:
    """A service that something else replaces."""

    reason: str
    since: str = ""


@dataclass(frozen=True)
class Probe:
    """One check with a pass criterion. Seconds for the times; `texts` are resolved when one is asked for."""

    name: str
    kind: Literal["http", "command", "metrics", "traces", "store"]
    texts: Mapping[str, Secret]  # http, metrics or traces; url, user, token
    command: tuple[str, ...] = ()
    status: int | None = None
    newer: float = 120.0
    gap: float | None = None
    over: float = 600.0
    within: float = 10.0
    store: str = ""  # one of the stack's stores, and of which kind it is
    store_kind: str = ""
    collection: str = ""  # "" is all of them
    expect: Mapping[str, float] = field(default_factory=dict)  # measure → bound, in the unit of `model/measures.py`
    explicit: bool = False  # the bounds are the stack file's own

    def text(self, key: str) -> str:
        """One of the texts, "" without it; never for what is shown. Raises ConfigError for a variable not set."""
        return self.texts[key].reveal() if key in self.texts else ""


@dataclass(frozen=True)
class Stack:
    """The whole stack. `path` is None when there is no stack file."""

    path: str | None
    droplets: Mapping[str, Droplet]
    services: Mapping[str, Service]
    redundant: Mapping[str, Redundant] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()  # what must run when nothing else can; empty: phases 1 and 2
    stores: Mapping[str, Mapping[str, Secret]] = field(default_factory=dict)
    alerts: Mapping[str, Secret] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)  # "services.postgres.phase" → where it stands

    def on(self, droplet: Droplet) -> Stack:
        """The stack as it is on one droplet: with the services that belong there."""
        elsewhere = {name for each in self.droplets.values() if each.name != droplet.name for name in each.services}
        own = {
            name: each
            for name, each in self.services.items()
            if (name in droplet.services if droplet.services else name not in elsewhere)
        }
        return self if len(own) == len(self.services) else replace(self, services=own)
