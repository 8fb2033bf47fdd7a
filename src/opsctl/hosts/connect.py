"""From a droplet of the stack to a host; nothing is connected before it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from opsctl.hosts.agent import Settings
from opsctl.hosts.base import STATE_DIR, AgentHost
from opsctl.model.errors import left_out
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet


def connect(
    droplet: Droplet,
    *,
    confirm_host_key: Callable[[str, str, str], bool] | None = None,
    ask_passphrase: Callable[[str], Secret | None] | None = None,
    patience: float = 0.0,
    state_dir: str = STATE_DIR,
) -> AgentHost:
    """The host of a droplet. Where a person is there to be asked, they are: `confirm_host_key(host, key type,
    fingerprint)` about an unknown key, `ask_passphrase(path)` about a locked key file. A login may take `patience`
    seconds where less is configured.
    """
    settings = Settings(droplet.name, sudo=droplet.sudo, socket=droplet.socket)
    if droplet.address == "local":
        from opsctl.hosts.local import LocalHost

        return LocalHost(settings, state_dir=state_dir)
    if find_spec("paramiko") is None:
        raise left_out("paramiko")
    from opsctl.hosts.connection import Answers
    from opsctl.hosts.ssh import SSHHost

    answers = Answers(confirm_host_key, ask_passphrase)
    return SSHHost(settings, droplet, answers, patience=patience, state_dir=state_dir)
