"""A port that the engine holds for nobody: `recover` restarts the engine, on a droplet where it really is so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import Droplet
from tests.jobs.test_recover import boot_of, with_stack

from opsctl.jobs.recover_services import held_ports
from opsctl.model.events import Outcome
from opsctl.model.operate import Diagnosis
from opsctl.model.recovery import Climb
from opsctl.model.run import RunResult, StepResult
from opsctl.sandbox import breakage

_COMPOSE = "/opt/Dev-Tools/deploy/docker-compose.yml"

# An engine that is killed while it gives ports to containers takes some of them up again for nobody.
_HOLD = """
image=$(docker inspect -f '{{.Image}}' deploy-redis-1); names=
for i in 1 2 3 4 5 6; do
    docker create --name port-$i --restart always -p 127.0.0.1:910$i:80 --entrypoint sh "$image" -c 'exit 1' >/dev/null
    names="$names port-$i"
done
for try in $(seq 12); do
    docker start $names >/dev/null 2>&1 &
    sleep 0.$((RANDOM % 6 + 2))
    kill -9 $(pidof dockerd); wait
    answers
    held=$(stale_ports)
    [ -z "$held" ] || break
done
for try in 1 2 3; do docker rm -f $names >/dev/null 2>&1 && break; sleep 0.5; done
echo "${held%% *}"
"""


@contextmanager
def held_port(droplet: Droplet) -> Iterator[int]:
    """A port that the droplet's engine holds for no container, and that the gateway is to have from now on."""
    script = Path(breakage.__file__).with_name("breakage_engine.sh").read_text(encoding="utf-8")
    port = int(droplet.sh(script + _HOLD))
    droplet.sh(
        f"cp -p {_COMPOSE} {_COMPOSE}.kept && docker rm -f deploy-gateway-mcp-1 >/dev/null 2>&1; "
        f"sed -i 's/127.0.0.1:8000:8000/127.0.0.1:{port}:8000/' {_COMPOSE}"
    )
    try:
        yield port
    finally:
        droplet.sh(f"docker rm -f deploy-gateway-mcp-1 >/dev/null 2>&1; mv {_COMPOSE}.kept {_COMPOSE}")
        droplet.sh(script + "mend_ports")


def both_must_run(droplet: Droplet, tmp_path: Path) -> tuple[str, ...]:
    opsctl = with_stack(droplet, tmp_path)
    path = Path(opsctl.environment["OPSCTL_STACK"])
    path.write_text(path.read_text().replace("fallback: [redis]", "fallback: [redis, gateway-mcp]"))
    return ("--stack", str(path))


@pytest.mark.sandbox
@pytest.mark.timeout(600)
def test_the_engine_is_restarted_where_it_may_and_only_there(droplet: Droplet, tmp_path: Path) -> None:
    stack = both_must_run(droplet, tmp_path)
    assert droplet.opsctl("startup", "--phase", "2", *stack).returncode == 0
    before = boot_of(droplet)
    with held_port(droplet) as port:
        since = droplet.sh("pidof dockerd")
        left = droplet.opsctl.json("recover", "--up-to", "fallback", *stack)
        assert left["exit_code"] == 7
        kinds = [each["kind"] for each in left["droplets"][0]["result"]["climbs"]]
        assert "engine-restart" not in kinds
        assert droplet.sh("pidof dockerd") == since, "nobody allowed it"
        assert left["droplets"][0]["error"]["next"] == "opsctl recover --up-to reboot"

        done = droplet.opsctl.json("recover", "--up-to", "reboot", "--yes", *stack)
        assert done["ok"], json.dumps(done, indent=1)
        climbs = done["droplets"][0]["result"]["climbs"]
        assert [(each["kind"], each["outcome"]) for each in climbs] == [
            ("service", "failed"),
            ("engine-restart", "changed"),
            ("start", "changed"),
        ]
        assert f"port {port} is held by the Docker engine" in json.dumps(climbs[0])
        assert droplet.sh("pidof dockerd") != since
        assert {"redis", "gateway-mcp"} <= droplet.running()
        assert boot_of(droplet) == before, "no boot was needed"
        assert not droplet.sh("ls /var/lib/opsctl/hold 2>/dev/null", check=False), "no hold is left"
        again = droplet.opsctl.json("recover", "--up-to", "reboot", "--yes", *stack)
        assert again["droplets"][0]["result"]["climbs"] == []


def climbed(outcome: Outcome, port: int | None) -> Climb:
    seen = Diagnosis("a", "created", 128, 0, "", 0, "", (), (), (), None, None, "", "", stale_port=port)
    step = StepResult("start:a", "start a", "start", "a", 1, outcome, diagnosis=seen)
    run = RunResult("r", "p", "recover", (step,), 0.0)
    return Climb("service", "restart what failed: a", outcome, "", run=run)


def test_only_a_failure_for_a_port_that_nobody_has_counts() -> None:
    assert held_ports([climbed(Outcome.FAILED, 8000), climbed(Outcome.FAILED, 8000)]) == (8000,)
    assert held_ports([climbed(Outcome.FAILED, None), Climb("engine", "x", Outcome.FAILED, "")]) == ()
    assert held_ports([climbed(Outcome.CHANGED, 8000)]) == ()
