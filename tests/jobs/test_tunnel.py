"""Where a port is reached, decided purely; and real tunnels to real containers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.tiny_image import Engine, real_engine

from opsctl.hosts import connect
from opsctl.jobs import containers as listing
from opsctl.jobs.tunnel import (
    Network,
    Target,
    Tunnel,
    Wish,
    environment,
    find,
    parse_network,
    parse_wish,
    pick_port,
    resolve,
)
from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, UsageError
from opsctl.model.ports import Host
from opsctl.model.stack import Droplet, Gate, Service, Stack

REDIS = listing.Found("id", "deploy-redis-1", "running", "Up", "redis", "deploy", "redis", False, ())


@pytest.mark.parametrize(("text", "wish"), [("redis", Wish("redis", None)), ("redis:6379", Wish("redis", 6379))])
def test_a_wish(text: str, wish: Wish) -> None:
    assert parse_wish(text) == wish


@pytest.mark.parametrize("text", ["redis:", "redis:x", "redis:0", "redis:70000", ":6379", ""])
def test_no_wish(text: str) -> None:
    with pytest.raises(UsageError):
        parse_wish(text)


def test_inspect_is_read() -> None:
    network = parse_network(
        {
            "ports": {"6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": "16379"}], "53/udp": None, "9121/tcp": None},
            "exposed": {"6379/tcp": {}, "7000/tcp": {}},
            "networks": {"a": {"IPAddress": "172.18.0.2"}, "b": {"IPAddress": ""}},
            "mode": "deploy_default",
        }
    )
    assert network == Network((6379, 7000, 9121), {6379: ("127.0.0.1", 16379)}, ("172.18.0.2",))
    assert parse_network({"ports": None, "exposed": None, "networks": None, "mode": "host"}).host_mode


def test_the_port_meant() -> None:
    two = Network((6379, 9121), {}, ())
    assert pick_port(REDIS, two, 9121, None) == 9121
    assert pick_port(REDIS, two, None, Service("redis", gate=Gate(tcp=6379))) == 6379
    assert pick_port(REDIS, Network((80, 81), {80: ("", 80)}, ()), None, None) == 80
    assert pick_port(REDIS, Network((80,), {}, ()), None, None) == 80
    published = Network((8000,), {8000: ("127.0.0.1", 18000)}, ())
    assert pick_port(REDIS, published, None, Service("redis", gate=Gate(http=":18000/health"))) == 8000
    with pytest.raises(UsageError) as caught:
        pick_port(REDIS, two, None, None)
    assert "6379, 9121" in caught.value.info.why


def test_published_before_the_containers_own_address() -> None:
    network = Network((80, 81), {80: ("0.0.0.0", 8080)}, ("172.18.0.2",))
    assert resolve(REDIS, network, 80) == Target("redis", 80, "127.0.0.1", 8080, "published")
    assert resolve(REDIS, network, 81) == Target("redis", 81, "172.18.0.2", 81, "container")
    assert resolve(REDIS, Network((), {}, (), host_mode=True), 80).via == "host"
    with pytest.raises(OpsError):
        resolve(REDIS, Network((), {}, ()), 80)


def test_variables_for_a_command() -> None:
    redis = Tunnel(Target("redis", 6379, "", 0, ""), "127.0.0.1", 50001)
    gateway = Tunnel(Target("gateway-mcp", 8000, "", 0, ""), "127.0.0.1", 50002)
    found = environment([redis, gateway])
    assert found["OPSCTL_TUNNEL"] == found["OPSCTL_REDIS"] == found["OPSCTL_REDIS_6379"] == "127.0.0.1:50001"
    assert (found["OPSCTL_GATEWAY_MCP_HOST"], found["OPSCTL_GATEWAY_MCP_PORT"]) == ("127.0.0.1", "50002")


def gets_nothing(host: Host, target: Target) -> bool:
    """Nobody is behind it: the connection is closed, not left hanging."""
    with host.forward(target.host, target.host_port) as there:
        try:
            with socket.create_connection((there.host, there.port), timeout=10) as near:
                return near.recv(1) == b""
        except ConnectionError:
            return True


@pytest.fixture
def engine() -> Iterator[Engine]:
    with real_engine() as engine:
        yield engine


def test_a_real_container_is_found_by_its_own_address(engine: Engine) -> None:
    name = engine.run("quiet", "exec sleep 600", "--expose", "7777")
    droplet = Droplet("here", "local")
    host = connect(droplet)
    try:
        containers = listing.read(host, Stack(None, {"here": droplet}, {}), droplet, cancel=Cancel(30))
        target = find(host, containers, Wish(name, None), None, droplet, cancel=Cancel(30))
        assert (target.port, target.via, target.answers) == (7777, "container", False)
        assert gets_nothing(host, target)
    finally:
        host.close()
