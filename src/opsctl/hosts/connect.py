"""From a droplet of the stack to a host; nothing is connected before it is used."""

from __future__ import annotations

from collections.abc import Callable

from opsctl.hosts.agent import Settings
from opsctl.hosts.base import STATE_DIR, AgentHost
from opsctl.model.stack import Droplet


def connect(
    droplet: Droplet,
    *,
    confirm_host_key: Callable[[str, str, str], bool] | None = None,
    state_dir: str = STATE_DIR,
) -> AgentHost:
    """The host of a droplet. `confirm_host_key(host, key type, fingerprint)` is asked about an unknown key."""
    settings = Settings(droplet.name, sudo=droplet.sudo, socket=droplet.socket)
    if droplet.address == "local":
        from opsctl.hosts.local import LocalHost

        return LocalHost(settings, state_dir=state_dir)
    from opsctl.hosts.ssh import SSHHost

    return SSHHost(settings, droplet, confirm_host_key=confirm_host_key, state_dir=state_dir)
