"""Where a service's port can be reached on its droplet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsctl.jobs.containers import USE_SOCKET, Containers, Found, engine_error, running
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, UsageError
from opsctl.model.ports import Script, Shell
from opsctl.model.stack import Droplet, Service

_INSPECT = (
    USE_SOCKET
    + """
exec docker inspect --type container --format '{"ports":{{json .NetworkSettings.Ports}},
"exposed":{{json .Config.ExposedPorts}},"networks":{{json .NetworkSettings.Networks}},
"mode":{{json .HostConfig.NetworkMode}}}' "$1"
"""
)
_KNOCK = 'exec 3<>"/dev/tcp/$1/$2"'
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "": "127.0.0.1"}  # noqa: S104 - read, never bound


@dataclass(frozen=True)
class Wish:
    """What was asked for: a service or container, and a port in it (None: the one it has)."""

    name: str
    port: int | None


@dataclass(frozen=True)
class Network:
    """What a container offers: its TCP ports, those published on the droplet, and its own addresses."""

    ports: tuple[int, ...]
    published: Mapping[int, tuple[str, int]]
    addresses: tuple[str, ...]
    host_mode: bool = False


@dataclass(frozen=True)
class Target:
    """An address as the droplet sees it. `via` is published, container or host."""

    service: str
    port: int
    host: str
    host_port: int
    via: str
    answers: bool = True


@dataclass(frozen=True)
class Tunnel:
    """An open tunnel: what, and where it is reached from here."""

    target: Target
    local_host: str
    local_port: int

    @property
    def local(self) -> str:
        """`127.0.0.1:54321`."""
        return f"{self.local_host}:{self.local_port}"


@dataclass(frozen=True)
class Opened:
    """The tunnels of one droplet, for the renderer and JSON."""

    tunnels: tuple[Tunnel, ...] = field(default_factory=tuple)


def parse_wish(text: str) -> Wish:
    """`redis` or `redis:6379`. Raises UsageError."""
    name, _, port = text.partition(":")
    if not name or (":" in text and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise UsageError(f"{text!r} names no port", next="opsctl tunnel redis:6379")
    return Wish(name, int(port) if port else None)


def find(
    shell: Shell, containers: Containers, wish: Wish, service: Service | None, droplet: Droplet, *, cancel: Cancel
) -> Target:
    """Where a wish is reached on the droplet, and whether something answers there now.

    Raises UsageError for an unknown name or an ambiguous port, OpsError where nothing can be reached.
    """
    found = running(containers.named(wish.name)[0])
    done = shell.run(Script(_INSPECT, (droplet.socket or "", found.id)), cancel=cancel, timeout=30)
    if done.code != 0:
        raise engine_error(done.code, done.error_text)
    network = parse_network(json.loads(done.text))
    target = resolve(found, network, pick_port(found, network, wish.port, service))
    knock = shell.run(Script(_KNOCK, (target.host, str(target.host_port))), cancel=cancel, timeout=10)
    return Target(**{**vars(target), "answers": knock.code == 0})


def parse_network(data: Mapping[str, Any]) -> Network:
    """What `docker inspect` says about a container's network."""
    published: dict[int, tuple[str, int]] = {}
    ports = {int(name.split("/")[0]) for name in (data.get("exposed") or {}) if name.endswith("/tcp")}
    for name, bindings in (data.get("ports") or {}).items():
        if not name.endswith("/tcp"):
            continue
        number = int(name.split("/")[0])
        ports.add(number)
        for binding in bindings or []:
            published.setdefault(number, (binding.get("HostIp", ""), int(binding["HostPort"])))
    networks = (data.get("networks") or {}).values()
    addresses = tuple(each["IPAddress"] for each in networks if each.get("IPAddress"))
    return Network(tuple(sorted(ports)), published, addresses, data.get("mode") == "host")


def pick_port(found: Found, network: Network, wanted: int | None, service: Service | None) -> int:
    """The port asked for, else the one of the service's gate, else the only one there is. Raises UsageError."""
    if wanted is not None:
        return wanted
    gate = gate_port(service)
    if gate is not None:  # a gate over HTTP names the published port where there is one
        behind = [port for port, (_, number) in network.published.items() if number == gate]
        return gate if gate in network.ports or not behind else behind[0]
    for candidates in (tuple(network.published), network.ports):
        if len(candidates) == 1:
            return candidates[0]
    several = ", ".join(map(str, network.ports)) or "none that it declares"
    example = network.ports[0] if network.ports else 8080
    raise UsageError(
        f"which port of {found.label}?",
        why=f"its TCP ports: {several}",
        next=f"opsctl tunnel {found.label}:{example}",
    )


def gate_port(service: Service | None) -> int | None:
    """The port that a service's gate probes."""
    if service is None:
        return None
    match = re.match(r"^(?:https?://[^/:]*)?:(\d+)", service.gate.http or "")
    return int(match[1]) if match else service.gate.tcp


def resolve(found: Found, network: Network, port: int) -> Target:
    """The published address of a port, else the container's own. Raises OpsError where there is neither."""
    if port in network.published:
        address, number = network.published[port]
        return Target(found.label, port, _LOOPBACK.get(address, address), number, "published")
    if network.host_mode:
        return Target(found.label, port, "127.0.0.1", port, "host")
    if network.addresses:
        return Target(found.label, port, network.addresses[0], port, "container")
    raise OpsError(
        f"{found.label}:{port} cannot be reached",
        why="the container has no network and publishes nothing",
        next=f"opsctl exec {found.label} -- …",
    )


def environment(tunnels: Sequence[Tunnel]) -> dict[str, str]:
    """Variables for a command that uses the tunnels: OPSCTL_REDIS=127.0.0.1:6379, …_HOST, …_PORT; the first also
    as OPSCTL_TUNNEL.
    """
    found: dict[str, str] = {}
    for number, each in enumerate(tunnels):
        own = "OPSCTL_" + re.sub(r"[^A-Z0-9]", "_", each.target.service.upper())
        for name in (own, f"{own}_{each.target.port}", *(["OPSCTL_TUNNEL"] if number == 0 else [])):
            values = {name: each.local, f"{name}_HOST": each.local_host, f"{name}_PORT": str(each.local_port)}
            found |= {key: value for key, value in values.items() if key not in found}
    return found
