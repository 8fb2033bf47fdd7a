"""What the provider rents, as it lists it: the basic sizes, with their prices of 2025."""

from __future__ import annotations

from typing import Any, NamedTuple

REGION = "sfo2"


class Size(NamedTuple):
    """`memory` in MiB, `disk` in GiB, `transfer` in TB, `monthly` in US dollars."""

    slug: str
    vcpus: int
    memory: int
    disk: int
    transfer: float
    monthly: float


SIZES = {
    size.slug: size
    for size in (
        Size("s-1vcpu-512mb-10gb", 1, 512, 10, 0.5, 4),
        Size("s-1vcpu-1gb", 1, 1024, 25, 1, 6),
        Size("s-1vcpu-2gb", 1, 2048, 50, 2, 12),
        Size("s-2vcpu-2gb", 2, 2048, 60, 3, 18),
        Size("s-2vcpu-4gb", 2, 4096, 80, 4, 24),
        Size("s-4vcpu-8gb", 4, 8192, 160, 5, 48),
        Size("s-8vcpu-16gb", 8, 16384, 320, 6, 96),
    )
}
_HOURS = 672  # of a month that are billed


def first_size(memory: int) -> Size:
    """What a droplet of so many bytes was rented as: the least that has them; of 2 GiB the one of the documents."""
    fitting = [size for size in SIZES.values() if size.memory * 2**20 >= memory]
    return SIZES["s-2vcpu-2gb"] if memory == 2 * 2**30 else fitting[0] if fitting else list(SIZES.values())[-1]


def size_shape(size: Size) -> dict[str, Any]:
    """A size as the API shows it."""
    return {
        "slug": size.slug,
        "memory": size.memory,
        "vcpus": size.vcpus,
        "disk": size.disk,
        "transfer": float(size.transfer),
        "price_monthly": float(size.monthly),
        "price_hourly": round(size.monthly / _HOURS, 5),
        "regions": [REGION],
        "available": True,
        "description": "Basic",
        "networking_throughput": 2000,
        "disk_info": disk_shape(size.disk),
    }


def disk_shape(disk: int) -> list[dict[str, Any]]:
    """A droplet's or a size's own disk, in GiB."""
    return [{"type": "local", "size": {"amount": disk, "unit": "gib"}}]


def region_shape() -> dict[str, Any]:
    """The one region there is."""
    return {
        "name": "San Francisco 2",
        "slug": REGION,
        "features": ["backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"],
        "available": True,
        "sizes": list(SIZES),
    }
