"""Checked entries to the frozen stack that jobs read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from opsctl.model.measures import bounds
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet, Gate, Probe, Redundant, Service, Then
from opsctl.model.stackfile_schema import (
    DropletEntry,
    GateEntry,
    ProbeEntry,
    RedundantEntry,
    ServiceEntry,
    StoreEntry,
    ThenEntry,
)


def droplet(name: str, entry: DropletEntry, folder: Path) -> Droplet:
    """A droplet; key files are resolved against the home and the stack's folder."""
    provider: Mapping[str, str | int] = {
        key: value for key, value in entry.provider.model_dump().items() if value is not None
    }
    if entry.provider.token_file is not None:
        provider = {**provider, "token_file": str(_local(entry.provider.token_file, folder))}
    return Droplet(
        name=name,
        address=entry.address,
        key=_local(entry.key, folder),
        known_hosts=_local(entry.known_hosts, folder),
        compose=tuple(entry.compose),
        env_file=tuple(entry.env_file),
        project=entry.project,
        reserve=entry.reserve,
        sudo=entry.docker.sudo,
        socket=None if entry.docker.socket == "auto" else entry.docker.socket,
        provider=provider,
        boot=entry.boot,
        services=tuple(entry.services),
    )


def _local(path: str | None, folder: Path) -> str | None:
    return None if path is None else str(folder / Path(path).expanduser())


def service(name: str, entry: ServiceEntry) -> Service:
    """A service as the file gives it; what it does not say is the default."""
    return Service(
        name=name,
        phase=entry.phase,
        memory=entry.memory,
        gate=gate(entry.gate),
        proof=tuple(entry.proof),
        then=tuple(then(step) for step in entry.then),
        one_by_one=entry.one_by_one,
        optional=entry.optional,
    )


def gate(entry: GateEntry) -> Gate:
    """A gate."""
    command = None if entry.command is None else tuple(entry.command)
    return Gate(entry.http, entry.tcp, entry.sql, command, entry.status, entry.within)


def then(entry: ThenEntry) -> Then:
    """A step after a gate; the schema has made sure that there is exactly one kind."""
    if entry.command is not None:
        return Then("command", tuple(entry.command), entry.within)
    if entry.sql is not None:
        return Then("sql", (entry.sql,), entry.within)
    return Then("opsctl", tuple(entry.opsctl or ()), entry.within)


def redundant(entry: RedundantEntry) -> Redundant:
    """Why a service isn't needed."""
    return Redundant(entry.reason, entry.since)


def store_kind(entry: StoreEntry) -> str:
    """Which kind of store it is; the schema has made sure that there is exactly one."""
    kinds = (("postgres", "postgres"), ("redis", "redis"), ("weaviate", "weaviate"), ("qdrant", "qdrant"))
    return next((kind for kind, key in kinds if getattr(entry, key) is not None), "json")


def probe(name: str, entry: ProbeEntry, texts: Mapping[str, Secret], stores: Mapping[str, StoreEntry]) -> Probe:
    """A probe; there is exactly one kind, and its store is one of the stack's: that has been checked."""
    kinds: tuple[Literal["http", "command", "metrics", "traces", "store"], ...] = (
        "http",
        "command",
        "metrics",
        "traces",
        "store",
    )
    asked = store_kind(stores[entry.store]) if entry.store else ""
    return Probe(
        name=name,
        kind=next(kind for kind in kinds if getattr(entry, kind) is not None),
        texts=texts,
        command=tuple(entry.command or ()),
        status=entry.status,
        newer=entry.newer,
        gap=entry.gap,
        over=entry.over,
        within=entry.within,
        store=entry.store or "",
        store_kind=asked,
        collection=entry.collection or "",
        expect=bounds(asked, entry.expect) if entry.store else {},
        explicit=bool(entry.expect),
    )
