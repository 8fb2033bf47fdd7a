"""Where a droplet's address leads, as OpenSSH itself understands the user's configuration."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsctl.model.errors import ConfigError
from opsctl.model.stack import Droplet

CONNECT_BOUND: Final = 10.0
_CONFIG_VARIABLE: Final = "OPSCTL_SSH_CONFIG"
_ADDRESS: Final = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[^\]\s]+)\]|(?P<host>[^:@\s]+))(?::(?P<port>\d+))?")


@dataclass(frozen=True)
class Address:
    """user@host:port as somebody wrote it."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ConfigError."""
        found = _ADDRESS.fullmatch(text.removeprefix("ssh://").rstrip("/"))
        if found is None:
            raise ConfigError(f"`{text}` is not an address", why="expected user@host, user@host:port or `local`")
        return cls(found["six"] or found["host"], found["user"], int(found["port"]) if found["port"] else None)


@dataclass(frozen=True)
class Target:
    """Everything there is to know before connecting; `timeout` in seconds."""

    alias: str
    host: str
    port: int
    user: str
    identity_files: tuple[str, ...]
    identities_only: bool
    identity_agent: str | None  # a socket's path; None: no agent
    known_hosts: tuple[str, ...]  # the first is the one that is written to
    hash_known_hosts: bool
    key_alias: str | None
    proxy_jump: tuple[str, ...]
    proxy_command: str | None
    timeout: float

    @property
    def known_as(self) -> str:
        """The name under which known_hosts files have its key."""
        name = self.key_alias or self.host
        return name if self.port == 22 or self.key_alias else f"[{name}]:{self.port}"

    @property
    def login(self) -> str:
        """user@host[:port], for messages."""
        return f"{self.user}@{self.host}" + ("" if self.port == 22 else f":{self.port}")


def resolve(address: Address, droplet: Droplet | None = None) -> Target:
    """The target of an address; a droplet's own key and known_hosts win over the configuration."""
    found = _ask_openssh(address) if shutil.which("ssh") else _ask_paramiko(address)
    target = _target(address, found)
    if droplet is None:
        return target
    changes: dict[str, object] = {}
    if droplet.key:
        changes |= {"identity_files": (_expand(droplet.key, target.host),), "identities_only": True}
    if droplet.known_hosts:
        changes |= {"known_hosts": (_expand(droplet.known_hosts, target.host),)}
    return Target(**{**vars(target), **changes})


def _ask_openssh(address: Address) -> dict[str, list[str]]:
    argv = ["ssh", "-G"]
    if config := os.environ.get(_CONFIG_VARIABLE):
        argv += ["-F", config]
    if address.user:
        argv += ["-l", address.user]
    if address.port:
        argv += ["-p", str(address.port)]
    done = subprocess.run([*argv, "--", address.host], capture_output=True, text=True, timeout=CONNECT_BOUND)
    if done.returncode:
        raise _unreadable(address.host, (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0])
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def _unreadable(host: str, words: str) -> ConfigError:
    place = re.match(r"(?P<path>.+?):? line (?P<line>\d+)", words)
    return ConfigError(
        f"the ssh configuration for {host} cannot be read",
        why=words,
        next=f"ssh -G {host}",
        path=place["path"] if place else None,
        line=int(place["line"]) if place else None,
    )


def _ask_paramiko(address: Address) -> dict[str, list[str]]:
    from paramiko import SSHConfig

    path = Path(os.environ.get(_CONFIG_VARIABLE) or "~/.ssh/config").expanduser()
    config = SSHConfig.from_path(str(path)) if path.is_file() else SSHConfig()
    found = {key: value if isinstance(value, list) else [value] for key, value in config.lookup(address.host).items()}
    if address.user:
        found["user"] = [address.user]
    if address.port:
        found["port"] = [str(address.port)]
    return found


def _target(address: Address, found: dict[str, list[str]]) -> Target:
    def one(key: str, default: str) -> str:
        value = found.get(key, [default])[0]
        return default if value.lower() == "none" else value

    host = one("hostname", address.host)
    user = one("user", getpass.getuser())
    port = int(one("port", "22"))
    jumps = one("proxyjump", "")
    command = one("proxycommand", "")
    known = one("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2").split()
    known += one("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2").split()
    alias = one("hostkeyalias", "") or None
    bound = one("connecttimeout", "")
    default_keys = [f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]
    return Target(
        alias=address.host,
        host=host,
        port=port,
        user=user,
        identity_files=tuple(_expand(path, host, user) for path in found.get("identityfile", default_keys)),
        identities_only=one("identitiesonly", "no") == "yes",
        identity_agent=_agent_socket(found.get("identityagent", ["SSH_AUTH_SOCK"])[0]),
        known_hosts=tuple(_expand(path, host, user) for path in known),
        hash_known_hosts=one("hashknownhosts", "no") == "yes",
        key_alias=alias,
        proxy_jump=tuple(jumps.split(",")) if jumps else (),
        proxy_command=_tokens(command, alias or address.host, host, port, user) if command else None,
        timeout=float(bound) if bound.isdigit() and int(bound) > 0 else CONNECT_BOUND,
    )


def _agent_socket(value: str) -> str | None:
    value = value.strip('"')
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if value.startswith("$"):
        return os.environ.get(value[1:].strip("{}")) or None
    return str(Path(value).expanduser())


def _expand(path: str, host: str, user: str = "") -> str:
    plain = os.path.expandvars(path.strip('"'))
    for token, value in {"%d": str(Path.home()), "%h": host, "%r": user, "%u": getpass.getuser()}.items():
        plain = plain.replace(token, value)
    return str(Path(plain).expanduser())


def _tokens(command: str, name: str, host: str, port: int, user: str) -> str:
    values = {
        "%%": "%",
        "%h": host,
        "%k": name,
        "%n": name,
        "%p": str(port),
        "%r": user,
        "%d": str(Path.home()),
        "%u": getpass.getuser(),
        "%l": socket.gethostname(),
    }
    return re.sub(r"%[%hknprdul]", lambda found: values[found[0]], command)
