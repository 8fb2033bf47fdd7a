"""Which services use a volume, and where their data is now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.model.deploy import Survey
from opsctl.model.errors import UsageError
from opsctl.model.volumes import Towards, VolumeFacts


@dataclass(frozen=True)
class Wish:
    """What was asked for. `key` is the volume's name in the compose file, `name` the engine's; `path` the folder."""

    key: str
    name: str
    path: str
    back: bool = False
    switch: bool = False

    @property
    def towards(self) -> Towards:
        """Where the data is to be."""
        return "volume" if self.back else "host"


@dataclass(frozen=True)
class Found:
    """Who uses the data, and where: by containers first, for they write; else by what opsctl remembers."""

    users: tuple[str, ...]
    at: frozenset[Towards]
    running: tuple[str, ...]  # ids of containers

    @property
    def place(self) -> Towards:
        """Where the data is now."""
        return next(iter(self.at))


def volume_name(survey: Survey, key: str) -> str:
    """The engine's name of a volume of the compose file. Raises UsageError for one that it does not have."""
    for model in (survey.model, survey.raw):
        declared = model.get("volumes") or {}
        if key in declared:
            body = declared[key] or {}
            plain = key if body.get("external") else f"{survey.facts.project}_{key}"
            return str(body.get("name") or plain)
    known = list(dict.fromkeys([*(survey.model.get("volumes") or {}), *(survey.raw.get("volumes") or {})]))
    full = [each for each in known if f"{survey.facts.project}_{each}" == key]  # as the engine calls it
    meant = full or [each for each in volumes_of(survey.model, key) if each in known]
    name, folder = (meant or known or ["VOLUME"])[0], (full or [key])[0]
    raise UsageError(
        f"the compose file has no volume {key}",
        why=f"it has {', '.join(known)}" if known else "it declares none",
        next=f"opsctl migrate volumes-to-host {name} --to /opt/stack/data/{folder}",
    )


def volumes_of(model: Mapping[str, Any], service: str) -> list[str]:
    """The named volumes of a service."""
    return [str(each.get("source")) for each in mounts(model, service) if each.get("type") == "volume"]


def mounts(model: Mapping[str, Any], service: str) -> Iterator[Mapping[str, Any]]:
    """The mounts of a service in a resolved configuration."""
    body = (model.get("services") or {}).get(service) or {}
    yield from (each for each in body.get("volumes") or () if isinstance(each, Mapping))


def sources(model: Mapping[str, Any], wish: Wish) -> dict[str, set[Towards]]:
    """Service → where the configuration has the data, for those that use it."""
    found: dict[str, set[Towards]] = {}
    for name in model.get("services") or {}:
        for each in mounts(model, name):
            source = str(each.get("source") or "").rstrip("/")
            if each.get("type") == "volume" and source == wish.key:
                found.setdefault(name, set()).add("volume")
            elif each.get("type") == "bind" and source == wish.path:
                found.setdefault(name, set()).add("host")
    return found


def find(survey: Survey, facts: VolumeFacts, wish: Wish) -> Found:
    """Who uses the data and where it is."""
    places: dict[str, Towards] = {facts.volume.path: "volume", facts.host.path: "host"}
    users = dict.fromkeys(sources(survey.model, wish))
    at, running = set[Towards](), list[str]()
    for each in survey.facts.containers:
        if each.project != survey.facts.project or each.oneoff or not each.service:
            continue
        mounted = {str(one.get("Source") or "").rstrip("/") for one in survey.mounts.get(each.id, ())}
        here = {places[one] for one in mounted if one in places}
        if here:
            users[each.service] = None
            at |= here
            if each.status in ("running", "restarting", "paused"):
                running.append(each.id)
    if not at:
        record = facts.record
        at = {"host" if record is not None and record.phase in ("moved", "returning") else "volume"}
    return Found(tuple(name for name in users if name in survey.facts.compose), frozenset(at), tuple(running))
