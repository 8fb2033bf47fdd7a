"""opsctl on a real droplet: put there, used there, brought up to date, and taken away without a trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet, Opsctl

from opsctl.model.boot import parse_boot

pytestmark = pytest.mark.sandbox
PEAK = 45_000_000  # bytes; what may run on a droplet of 1 GB
SERVICES = """services:
  redis: {phase: 1, memory: 10MB, gate: {tcp: 6379}}
  gateway-mcp: {phase: 2, memory: 130MB, gate: {http: ":8000/health"}}
stores: {cache: {redis: "${CACHE_URL}"}}
"""
TRACES = "ls -d /etc/opsctl /usr/local/bin/opsctl /var/lib/opsctl/app /var/lib/opsctl/boot.json 2>/dev/null || true"
MEASURE = """cat >/tmp/peak.py <<'EOF'
import sys
from opsctl.cli.main import run
try:
    run()
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("peak", int(peak.split()[1]) * 1024, file=sys.stderr)
EOF
cd / && for words in "startup --phase 2" "host replay" "memory report" "status"; do
  /var/lib/opsctl/app/current/bin/python -I /tmp/peak.py $words 2>&1 >/dev/null | grep ^peak
done
"""


@pytest.fixture
def mine(droplet: Droplet, tmp_path: Path) -> Iterator[Droplet]:
    """The droplet with a small stack of two phases, without opsctl of its own before and after."""
    file = tmp_path / "opsctl.yaml"
    head = droplet.stack_file.read_text().split("services:")[0]
    file.write_text(head + SERVICES)
    environment = {**droplet.opsctl.environment, "OPSCTL_STACK": str(file), "CACHE_URL": "redis://:s3cr3t99@c/0"}
    yield replace(droplet, stack_file=file, opsctl=Opsctl(environment, droplet.opsctl.folder))
    droplet.sh("rm -rf /etc/opsctl /usr/local/bin/opsctl /var/lib/opsctl/app /var/lib/opsctl/boot.json")


def result(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["droplets"][0]["result"]
    return found


def test_it_is_put_there_runs_there_small_and_leaves_nothing(mine: Droplet) -> None:
    dry = mine.opsctl.json("host", "install", "--dry-run")
    assert dry["ok"] and mine.sh(TRACES) == "" and mine.sh("ls /var/lib/opsctl 2>/dev/null || true") == ""

    # What is not ours stays, and nothing is switched to.
    mine.sh("printf '#!/bin/sh\\necho mine\\n' >/usr/local/bin/opsctl; chmod 755 /usr/local/bin/opsctl")
    refused = mine.opsctl("host", "install")
    assert refused.returncode == 1 and "/usr/local/bin/opsctl" in refused.stderr, refused.stderr
    assert mine.sh("opsctl").strip() == "mine" and mine.sh("ls /etc/opsctl 2>/dev/null || true") == ""
    mine.sh("rm -r /usr/local/bin/opsctl /var/lib/opsctl")

    put = mine.opsctl.json("host", "install")
    assert put["ok"], put
    assert result(put)["plan"]["id"] == result(dry)["plan"]["id"]
    assert "s3cr3t99" not in json.dumps(put)
    assert "s3cr3t99" not in mine.sh("cat /etc/opsctl/opsctl.yaml /var/lib/opsctl/audit.jsonl /var/lib/opsctl/runs/*")
    assert mine.sh("stat -c '%a %U' /etc/opsctl/secrets.env").strip() == "600 root"
    assert "s3cr3t99" in mine.sh("cat /etc/opsctl/secrets.env")
    seen = result(mine.opsctl.json("host", "status"))
    assert seen["installed"] and seen["there"] == seen["here"] and not seen["problems"], seen

    # Its own opsctl works, is small, and says what it is not for.
    peaks = [int(line.split()[1]) for line in mine.sh(MEASURE).splitlines()]
    assert len(peaks) == 4 and max(peaks) <= PEAK, peaks
    assert mine.running() == {"redis", "gateway-mcp"}
    told = mine.sh("opsctl sandbox up 2>&1; echo $?; opsctl status -d root@192.0.2.1 2>&1; echo $?")
    assert told.count("on your laptop") == 2 and told.split()[-1] == "2" and "Traceback" not in told

    mine.sh("chmod 644 /var/lib/opsctl/app/current/bin/opsctl")
    silent = mine.opsctl("host", "status")
    assert silent.returncode == 1 and "does not answer" in silent.stdout
    mended = mine.opsctl("host", "upgrade")
    assert mended.returncode == 0, mended.stderr
    before = mine.sh("cat /var/lib/opsctl/audit.jsonl")
    again = mine.opsctl.json("host", "upgrade")
    assert again["ok"] and result(again)["plan"]["steps"] == [] and mine.sh("cat /var/lib/opsctl/audit.jsonl") == before

    listed = mine.opsctl("host", "remove", "--dry-run")
    for path in ("/usr/local/bin/opsctl", "/etc/opsctl/opsctl.yaml", "/etc/opsctl/secrets.env", "/var/lib/opsctl/app"):
        assert path in listed.stdout
    assert "/var/lib/opsctl/audit.jsonl" in listed.stdout, "what stays is said, too"
    kept = mine.opsctl("host", "remove")
    assert kept.returncode == 2 and "--yes" in kept.stderr
    gone = mine.opsctl("host", "remove", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert mine.sh(TRACES) == ""
    assert mine.running() == {"redis", "gateway-mcp"}, "what runs goes on running"
    nothing = mine.opsctl("host", "upgrade")
    assert nothing.returncode == 1 and "opsctl host install" in nothing.stderr


# Whoever is logged in stays so; nothing else leaves the droplet, neither by address nor by name.
_CUT = """
iptables -w 5 -N opsctl-test && iptables -w 5 -I OUTPUT -j opsctl-test
iptables -w 5 -A opsctl-test -o lo -j ACCEPT
iptables -w 5 -A opsctl-test -p tcp --sport 22 -j ACCEPT
iptables -w 5 -A opsctl-test -o eth0 -j DROP
"""
_MEND = "iptables -w 5 -D OUTPUT -j opsctl-test; iptables -w 5 -F opsctl-test; iptables -w 5 -X opsctl-test"
_OUT = "iptables -w 5 -L opsctl-test -v -x -n | awk '$3 == \"DROP\" {print $1}'"


def test_a_droplet_without_internet_is_given_all_it_needs(mine: Droplet) -> None:
    mine.sh(_CUT)
    try:
        tried = "timeout 2 bash -c 'exec 3<>/dev/tcp/198.51.100.1/443' 2>/dev/null && echo out || echo cut"
        assert mine.sh(tried).strip() == "cut" and int(mine.sh(_OUT)) > 0, "this droplet reaches nobody"
        before = int(mine.sh(_OUT))
        put = mine.opsctl.json("host", "install")
        assert put["ok"], put
        assert int(mine.sh(_OUT)) == before, "nothing on the droplet even tried to reach anybody"
        seen = result(mine.opsctl.json("host", "status"))
        assert seen["installed"] and seen["there"] == seen["here"] and not seen["problems"], seen
        assert mine.sh("opsctl startup --phase 1 >/dev/null 2>&1; echo $?").strip() == "0"
        again = mine.opsctl.json("host", "upgrade")
        assert again["ok"] and result(again)["plan"]["steps"] == []
    finally:
        mine.sh(_MEND)


def test_startup_and_stop_see_to_the_next_boot(mine: Droplet) -> None:
    """The container kind has no systemd: what `host install` remembers on a machine is written here by hand."""
    mine.sh("""mkdir -p /var/lib/opsctl; echo '{"version":1,"replay":true}' >/var/lib/opsctl/boot.json""")
    text = mine.stack_file.read_text()
    mine.stack_file.write_text(text.replace("    reserve: 200MB", "    reserve: 200MB\n    boot: replay"))
    policies = "docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' deploy-redis-1 deploy-gateway-mcp-1"

    up = mine.opsctl("startup", "--phase", "2")
    assert up.returncode == 0, up.stderr
    assert mine.sh(policies).split() == ["always", "no"]
    state = parse_boot(mine.sh("cat /var/lib/opsctl/boot.json"))
    assert state.policies == {"gateway-mcp": "always"} and set(state.up) == {"redis", "gateway-mcp"}
    again = mine.opsctl.json("startup", "--phase", "2")
    assert {each["outcome"] for each in result(again)["services"]} == {"unchanged"} and not result(again)["notes"]

    mine.sh("docker kill deploy-gateway-mcp-1 >/dev/null")
    replayed = mine.opsctl("host", "replay")
    assert replayed.returncode == 0 and mine.running() == {"redis", "gateway-mcp"}, replayed.stderr
    assert mine.opsctl("stop", "gateway-mcp").returncode == 0
    assert mine.opsctl("host", "replay").returncode == 0 and mine.running() == {"redis"}, "what was stopped stays down"

    # Without systemd nothing is promised that cannot be kept: the engine gets its containers back.
    put = mine.opsctl("host", "install")
    assert put.returncode == 0 and "not possible" in put.stdout, put.stdout
    assert mine.sh(policies).split() == ["always", "always"]
    assert mine.sh("ls /var/lib/opsctl/boot.json 2>/dev/null || true") == ""
