"""What the provider's API shows: droplets, actions, snapshots, pages, in the shapes of its OpenAPI description."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from opsctl.sandbox.cloud_sizes import REGION, SIZES, disk_shape, first_size, region_shape, size_shape
from opsctl.sandbox.kinds import Spec
from opsctl.sandbox.paths import state_dir

VPC = "760e09ef-dc84-11e8-981e-3cfdfeaae000"


class Refused(Exception):
    """What the API answers instead."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


def droplet_id(name: str) -> int:
    """A droplet's number: the same at every time, another one in another state folder."""
    return int(hashlib.sha256(f"{state_dir()}/{name}".encode()).hexdigest()[:7], 16) + 100_000_000


def droplet_shape(
    spec: Spec, rented: Mapping[str, Any], *, on: bool, locked: bool, snapshots: Sequence[str], volumes: Sequence[str]
) -> dict[str, Any]:
    """A droplet. Its memory is what it really has."""
    size = SIZES.get(str(rented.get("size")), first_size(spec.memory))
    disk = int(rented.get("disk", size.disk))
    created = rented.get("created_at", "2026-01-01T00:00:00Z")
    return {
        "id": droplet_id(spec.name),
        "name": spec.name,
        "memory": spec.memory // 2**20,
        "vcpus": size.vcpus,
        "disk": disk,
        "disk_info": disk_shape(disk),
        "locked": locked,
        "status": "active" if on else "off",
        "kernel": None,
        "created_at": created,
        "features": ["droplet_agent"],
        "backup_ids": [],
        "next_backup_window": None,
        "snapshot_ids": [int(each) for each in snapshots],
        "image": _IMAGE | {"created_at": created},
        "volume_ids": list(volumes),
        "size": size_shape(size),
        "size_slug": size.slug,
        "networks": {
            "v4": [
                {"ip_address": "127.0.0.1", "netmask": "255.0.0.0", "gateway": "127.0.0.1", "type": "public"},
            ],
            "v6": [],
        },
        "region": region_shape(),
        "tags": list(rented.get("tags", [])),
        "vpc_uuid": VPC,
    }


def action_shape(number: int, kind: str, resource: int, started: str, *, of: str = "droplet") -> dict[str, Any]:
    """An action that has begun."""
    return {
        "id": number,
        "status": "in-progress",
        "type": kind,
        "started_at": started,
        "completed_at": None,
        "resource_id": resource,
        "resource_type": of,
        "region": region_shape(),
        "region_slug": REGION,
    }


def snapshot_shape(
    number: str, name: str, of: str, resource: str, created: str, *, least_disk: int, size: int
) -> dict[str, Any]:
    """A snapshot of a droplet or of a volume; `least_disk` in GiB, `size` in bytes."""
    return {
        "id": number,
        "name": name,
        "created_at": created,
        "regions": [REGION],
        "min_disk_size": least_disk,
        "size_gigabytes": max(0.01, round(size / 2**30, 2)),
        "resource_id": resource,
        "resource_type": of,
        "tags": [],
    }


def page(name: str, every: Sequence[Any], query: Mapping[str, str], address: str) -> dict[str, Any]:
    """One page of a list, with links to the others. Raises Refused for numbers that cannot be."""
    number, size = _number(query, "page", 1, 10**6), _number(query, "per_page", 20, 200)
    last = max(1, math.ceil(len(every) / size))
    other = {key: value for key, value in query.items() if key not in ("page", "per_page")}

    def link(to: int) -> str:
        return f"{address}?{urlencode({**other, 'page': to, 'per_page': size})}"

    pages: dict[str, str] = {}
    if number > 1:
        pages |= {"first": link(1), "prev": link(min(number - 1, last))}
    if number < last:
        pages |= {"next": link(number + 1), "last": link(last)}
    shown = list(every[(number - 1) * size : number * size])
    return {name: shown, "links": {"pages": pages} if pages else {}, "meta": {"total": len(every)}}


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    given = query.get(name, str(default))
    if not given.isdigit() or int(given) < 1:
        raise Refused(400, f"{name} must be a positive number")
    return min(int(given), most)


_IMAGE: dict[str, Any] = {
    "id": 195932981,
    "name": "13 x64",
    "distribution": "Debian",
    "slug": "debian-13-x64",
    "public": True,
    "regions": [REGION],
    "min_disk_size": 10,
    "size_gigabytes": 1.2,
    "type": "base",
    "description": "Debian 13 x64",
    "tags": [],
    "status": "available",
}
