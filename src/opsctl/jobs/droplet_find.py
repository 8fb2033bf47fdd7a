"""Which droplet of the provider a droplet of the stack is."""

from __future__ import annotations

from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud, CloudDroplet
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.stack import Droplet

KEY = "digitalocean"


def find(cloud: Cloud, droplet: Droplet, *, cancel: Cancel) -> CloudDroplet:
    """By the number or name in the stack file, else by its address.

    Raises ConfigError when the provider does not know it, and what the cloud raises.
    """
    named = droplet.provider.get(KEY)
    if named is not None:
        try:
            return cloud.droplet(named, cancel=cancel)
        except UsageError as error:
            raise ConfigError(
                f"the provider does not know the droplet `{droplet.name}`",
                why=f"provider: {{{KEY}: {named}}}: {error.info.what}",
                next="opsctl droplet list   # and put its number into the stack file",
                code="not-found",
            ) from None
    return _by_address(cloud, droplet, cancel)


def _by_address(cloud: Cloud, droplet: Droplet, cancel: Cancel) -> CloudDroplet:
    host = host_of(droplet.address)
    every = cloud.droplets(cancel=cancel)
    found = [each for each in every if host and host in (each.address, each.private_address, each.name)]
    if len(found) == 1:
        return found[0]
    have = ", ".join(f"{each.name} ({each.id}, {each.address or 'no address'})" for each in every[:8])
    raise ConfigError(
        f"which droplet is `{droplet.name}` at the provider?",
        why=f"{len(found) or 'none'} of the account {'have' if len(found) > 1 else 'has'} the address "
        f"{host or droplet.address}: {have or 'it has no droplets'}",
        next=f"in the stack file, under droplets: {droplet.name}: provider: {{{KEY}: NUMBER}}",
        code="not-found",
    )


def host_of(address: str) -> str:
    """The host in `user@host:port`, `[v6]:port` or `host`; "" for this machine."""
    if address == "local":
        return ""
    host = address.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
