"""The observability stack goes: proved before and after, on real Prometheus servers and a real Caddy."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]
SERVICES = (
    *("postgres", "redis", "gateway-mcp", "orchestrator"),
    *("caddy", "alloy", "prometheus", "grafana", "oauth2-proxy"),
)


@pytest.fixture
def observed(droplet: Droplet) -> Iterator[Droplet]:
    """The droplet with a cloud; alloy feeds from the droplet's own Prometheus."""
    on = droplet.opsctl("sandbox", "observability", "on", "--feed", "prometheus")
    assert on.returncode == 0, on.stderr
    try:
        only = [word for each in SERVICES for word in ("--only", each)]
        started = droplet.opsctl("startup", *only)
        assert started.returncode == 0, started.stderr
        yield droplet
    finally:
        assert droplet.opsctl("sandbox", "observability", "off").returncode == 0


def probes(droplet: Droplet, *words: str) -> dict[str, dict[str, Any]]:
    shown = droplet.opsctl.json("validate", *words)
    return {each["name"]: each for each in shown["droplets"][0]["result"]["probes"]}


def passes(droplet: Droplet, *words: str) -> None:
    found = probes(droplet, *words)
    assert found
    assert all(each["passed"] for each in found.values()), found


def test_it_goes_and_comes_back_and_nothing_is_missing(observed: Droplet, tmp_path: Path) -> None:
    fresh = ("--fresh", "--within", "90s")
    passes(observed, *fresh, "metrics-in-cloud", "traces-in-cloud")

    # The trap: what alloy sends comes from the very Prometheus that goes.
    assert observed.opsctl("stop", "prometheus").returncode == 0
    after = probes(observed, "--fresh", "--within", "12s", "metrics-in-cloud")
    assert not after["metrics-in-cloud"]["passed"], "what arrived before the stop proves nothing"
    passes(observed, *fresh, "traces-in-cloud")

    assert observed.opsctl("sandbox", "observability", "on", "--feed", "agents").returncode == 0
    observed.sh("cd /opt/Dev-Tools/deploy && docker compose up -d --no-deps alloy 2>&1")
    assert observed.opsctl("startup", "--only", "prometheus").returncode == 0
    passes(observed, *fresh, "metrics-in-cloud")

    exported = observed.opsctl.json("dashboards", "export", "--to", str(tmp_path / "kept"))
    written = exported["droplets"][0]["result"]["dashboards"]
    assert {each["uid"] for each in written} == {"agents-overview", "agents-memory"}
    model = json.loads((tmp_path / "kept" / "agents-overview.json").read_text())["dashboard"]
    assert model["panels"][0]["targets"][0]["expr"] == "service_up"

    passes(observed, "prometheus-is-guarded", "grafana-is-guarded")
    before = observed.sh("cat /opt/Dev-Tools/config/caddy/Caddyfile")
    gone = ("--without", "prometheus", "--without", "grafana", "--without", "oauth2-proxy")
    planned = observed.opsctl.json("proxy", "routes", *gone, "--dry-run")["droplets"][0]["result"]
    assert observed.sh("cat /opt/Dev-Tools/config/caddy/Caddyfile") == before
    taken = observed.opsctl.json("proxy", "routes", *gone)["droplets"][0]["result"]
    assert taken["plan"]["id"] == planned["plan"]["id"]
    assert [each["matcher"] for each in taken["gone"]] == ["/prometheus/*", "/grafana/*"]
    passes(observed, "prometheus-has-no-route", "grafana-has-no-route", "agents-answer")
    again = observed.opsctl.json("proxy", "routes", *gone)["droplets"][0]["result"]
    assert again["run"] is None, "a second run changes nothing"

    assert observed.opsctl("stop", "oauth2-proxy", "grafana", "prometheus").returncode == 0
    passes(observed, *fresh, "metrics-in-cloud", "traces-in-cloud")

    assert (
        observed.opsctl("startup", "--only", "prometheus", "--only", "grafana", "--only", "oauth2-proxy").returncode
        == 0
    )
    assert observed.opsctl("proxy", "routes", "--restore").returncode == 0
    assert observed.sh("cat /opt/Dev-Tools/config/caddy/Caddyfile") == before
    assert observed.opsctl("proxy", "routes", "--restore").returncode == 2
    passes(observed, "prometheus-is-guarded", "grafana-is-guarded")


def test_a_caddyfile_that_caddy_refuses_stays_as_it_was(droplet: Droplet) -> None:
    assert droplet.opsctl("startup", "--only", "caddy").returncode == 0
    file = "/opt/Dev-Tools/config/caddy/Caddyfile"
    whole = droplet.sh(f"cat {file}")
    try:
        droplet.sh(f"sed -i 's/^:80 {{/:80 {{\\n\\tnonsense on/' {file}")
        broken = droplet.sh(f"cat {file}")
        done = droplet.opsctl("proxy", "routes", "--without", "prometheus")
        assert done.returncode == 1
        assert "nonsense" in done.stderr
        assert droplet.sh(f"cat {file}") == broken
        assert droplet.sh("ls /var/lib/opsctl/proxy") == ""
    finally:
        subprocess.run([*droplet.ssh, f"cat > {file}"], input=whole, text=True, check=True)


def test_off_leaves_nothing(droplet: Droplet) -> None:
    before = droplet.stack_file.read_text()
    on = droplet.opsctl.json("sandbox", "observability", "on")["droplets"][0]["result"]
    assert on["metrics"].startswith("http://127.0.0.1:")
    assert "LANGSMITH_API_KEY" not in json.dumps(on)
    key = (droplet.stack_file.parent / "observability.env").read_text().strip().partition("=")[2]
    words = subprocess.run(["docker", "inspect", f"{_cloud(droplet)}"], capture_output=True, text=True, check=True)
    assert key not in words.stdout
    assert droplet.opsctl("sandbox", "observability", "off").returncode == 0
    assert droplet.stack_file.read_text() == before
    assert _cloud(droplet) == ""
    assert "COMPOSE_PROFILES" not in droplet.sh("cat /opt/Dev-Tools/deploy/.env")
    assert "alloy" not in droplet.sh("cd /opt/Dev-Tools/deploy && docker compose config --services")


def test_a_port_that_somebody_took_meanwhile_is_replaced(droplet: Droplet) -> None:
    """As after a restart of this machine: the receiver is gone, and another program has its port."""
    first = droplet.opsctl.json("sandbox", "observability", "on")["droplets"][0]["result"]
    subprocess.run(["docker", "rm", "-f", _cloud(droplet)], capture_output=True, check=True)
    port = int(first["metrics"].rpartition(":")[2])
    try:
        with socket.create_server(("127.0.0.1", port)):
            on = droplet.opsctl("sandbox", "observability", "on")
        assert on.returncode == 0, on.stderr
        assert f"port {port} or" in on.stderr
        assert f"127.0.0.1:{port}" not in on.stdout
    finally:
        assert droplet.opsctl("sandbox", "observability", "off").returncode == 0


def _cloud(droplet: Droplet) -> str:
    label = f"label=io.opsctl.sandbox={droplet.name}"
    argv = ["docker", "ps", "-a", "--filter", label, "--filter", "name=-cloud", "--format", "{{.Names}}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
