"""`opsctl droplet list | show`: droplets as their provider knows them."""

from __future__ import annotations

from collections.abc import Iterable

from opsctl.jobs.droplet_find import KEY, find, host_of
from opsctl.jobs.droplet_plan import SNAPSHOT_PRICE
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud, CloudDroplet
from opsctl.model.droplet import Listed, Offered, Shown
from opsctl.model.stack import Droplet

_GB = 10**9


def listed(cloud: Cloud, stack: Iterable[Droplet], *, cancel: Cancel) -> tuple[Listed, ...]:
    """All droplets of the account, those of the stack first. Raises what the cloud raises."""
    known = tuple(stack)
    every = [Listed(_name(each, known), each) for each in cloud.droplets(cancel=cancel)]
    return tuple(sorted(every, key=lambda each: (not each.stack, each.stack, each.droplet.name, each.droplet.id)))


def _name(there: CloudDroplet, stack: tuple[Droplet, ...]) -> str:
    for each in stack:
        named = each.provider.get(KEY)
        if named is not None:
            if str(named) in (str(there.id), there.name):
                return each.name
        elif (host := host_of(each.address)) and host in (there.address, there.private_address):
            return each.name
    return ""


def shown(cloud: Cloud, droplet: Droplet, *, cancel: Cancel) -> Shown:
    """One droplet with its latest actions, volumes and snapshots. Raises what the cloud raises."""
    there = find(cloud, droplet, cancel=cancel)
    copies = tuple(cloud.snapshots(there.id, cancel=cancel))
    return Shown(
        there,
        tuple(cloud.actions(there.id, cancel=cancel))[:5],
        tuple(cloud.volumes(there.id, cancel=cancel)),
        copies,
        round(sum(each.size for each in copies) / _GB * SNAPSHOT_PRICE, 2),
    )


def offered(cloud: Cloud, droplet: Droplet, *, every: bool, cancel: Cancel) -> Offered:
    """The sizes it can have in its region: at least as large and of its kind, or `every`."""
    there = find(cloud, droplet, cancel=cancel)
    here = [
        each
        for each in cloud.sizes(cancel=cancel)
        if each.available and (not each.regions or there.region in each.regions) and each.disk >= there.disk
    ]
    kind = next((each.kind for each in here if each.slug == there.size), "")
    fitting = [each for each in here if each.memory >= there.memory and (not kind or each.kind == kind)]
    return Offered(there, tuple(here if every else fitting))
