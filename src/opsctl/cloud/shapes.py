"""The API's JSON as this tool's own types: pure, and content with what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from opsctl.model.cloud import CloudAction, CloudDroplet, CloudRecord, CloudSize, CloudSnapshot, CloudVolume

_MIB = 2**20
_GB = 10**9
_CONSOLE = "https://cloud.digitalocean.com/droplets/{id}/terminal/ui/"


def droplet(value: Mapping[str, Any]) -> CloudDroplet:
    """One droplet."""
    size = value.get("size") or {}
    number = int(value["id"])
    return CloudDroplet(
        id=number,
        name=str(value.get("name", "")),
        status=str(value.get("status", "")),
        address=_address(value, "public"),
        private_address=_address(value, "private"),
        region=str((value.get("region") or {}).get("slug", "")),
        size=str(value.get("size_slug") or size.get("slug", "")),
        vcpus=int(value.get("vcpus") or 0),
        memory=int(value.get("memory") or 0) * _MIB,
        disk=int(value.get("disk") or 0) * _GB,
        price=float(size.get("price_monthly") or 0.0),
        volumes=tuple(str(each) for each in value.get("volume_ids") or ()),
        tags=tuple(str(each) for each in value.get("tags") or ()),
        created=str(value.get("created_at", "")),
        locked=bool(value.get("locked", False)),
        console=_CONSOLE.format(id=number),
    )


def _address(value: Mapping[str, Any], kind: str) -> str:
    every = (value.get("networks") or {}).get("v4") or ()
    return next((str(each["ip_address"]) for each in every if each.get("type") == kind), "")


def action(value: Mapping[str, Any]) -> CloudAction:
    """One action."""
    return CloudAction(
        id=int(value["id"]),
        kind=str(value.get("type", "")),
        status=str(value.get("status", "")),
        started=str(value.get("started_at") or ""),
        completed=str(value.get("completed_at") or ""),
    )


def size(value: Mapping[str, Any]) -> CloudSize:
    """One size."""
    return CloudSize(
        slug=str(value["slug"]),
        memory=int(value.get("memory") or 0) * _MIB,
        vcpus=int(value.get("vcpus") or 0),
        disk=int(value.get("disk") or 0) * _GB,
        price=float(value.get("price_monthly") or 0.0),
        regions=tuple(str(each) for each in value.get("regions") or ()),
        available=bool(value.get("available", True)),
        kind=str(value.get("description") or ""),
    )


def snapshot(value: Mapping[str, Any], of: str = "", kind: Literal["droplet", "volume"] = "droplet") -> CloudSnapshot:
    """One snapshot; of what, where the API does not say it itself."""
    told = value.get("resource_type")
    return CloudSnapshot(
        id=str(value["id"]),
        name=str(value.get("name", "")),
        created=str(value.get("created_at", "")),
        size=round(float(value.get("size_gigabytes") or 0.0) * _GB),
        of=of or str(value.get("resource_id") or ""),
        of_kind="volume" if told == "volume" else "droplet" if told == "droplet" else kind,
    )


def volume(value: Mapping[str, Any]) -> CloudVolume:
    """One volume."""
    return CloudVolume(
        id=str(value["id"]),
        name=str(value.get("name", "")),
        size=int(value.get("size_gigabytes") or 0) * _GB,
        region=str((value.get("region") or {}).get("slug", "")),
    )


_EXTRAS = ("priority", "port", "weight", "flags", "tag")


def record(value: Mapping[str, Any], domain: str) -> CloudRecord:
    """One DNS record."""
    return CloudRecord(
        id=int(value["id"]),
        domain=domain,
        type=str(value.get("type", "")),
        name=str(value.get("name", "")),
        data=str(value.get("data", "")),
        ttl=int(value.get("ttl") or 0),
        **{key: value.get(key) for key in _EXTRAS},
    )


def record_body(each: CloudRecord) -> dict[str, Any]:
    """What the API is given for a record."""
    extras = {key: getattr(each, key) for key in _EXTRAS if getattr(each, key) is not None}
    return {"type": each.type, "name": each.name, "data": each.data, "ttl": each.ttl, **extras}
