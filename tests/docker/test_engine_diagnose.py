"""Why a service died, from what one look shows."""

from __future__ import annotations

import json

import pytest

from opsctl.docker.diagnose import kernel_lines, oom_verdict, parse_diagnosis
from opsctl.docker.facts import MARK
from opsctl.docker.inspect import parse_containers
from opsctl.model.engine import ProbeState
from opsctl.model.operate import Diagnosis

ID = "d55038a05d9372be11bb956bb14499a9b7150c1a9b6dd95d42443b9dde2a6ec8"
OOM = "[ 3859.4] oom-kill:constraint=CONSTRAINT_"
OWN = f"{OOM}MEMCG,oom_memcg=/docker/{ID},task_memcg=/docker/{ID},task=python3,pid=29532,uid=0"
KILLED = "[ 3859.5] Memory cgroup out of memory: Killed process 29532 (python3) anon-rss:40192kB"
HOST = f"{OOM}NONE,global_oom,task_memcg=/docker/{ID},task=python3,pid=29532,uid=0"
OUTER = f"{OOM}MEMCG,oom_memcg=/docker/outer,task_memcg=/docker/outer/docker/{ID},pid=29532"


def look(
    *,
    status: str = "exited",
    code: int = 1,
    error: str = "",
    oom: bool = False,
    limit: int = 0,
    logs: str = "",
    kernel: str = "",
    health: str = "",
    restarts: int = 0,
    free_kb: int = 10**7,
    port: str = "",
) -> Diagnosis:
    state = {"Status": status, "ExitCode": code, "Error": error, "OOMKilled": oom}
    if health:
        state["Health"] = {"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": health, "End": ""}]}
    inspect = {"id": ID, "name": "/p-s-1", "state": state, "memory": limit, "restarts": restarts}
    sections = {
        "uptime": "3900.0 1.0",
        "meminfo": "MemTotal: 100 kB\nMemAvailable: 50 kB",
        "inspect": json.dumps(inspect),
        "logs": logs,
        "kernel": kernel,
        "disk": f"/dev/x 1 1 {free_kb} 1% /",
        "port": port,
    }
    return parse_diagnosis("s", "".join(f"{MARK} {name}\n{text}\n{MARK} rc 0\n" for name, text in sections.items()))


@pytest.mark.parametrize(
    ("kernel", "verdict"),
    [(f"{OWN}\n{KILLED}", "limit"), (f"{HOST}\n{KILLED}", "host"), (OUTER, "host"), ("", "unknown")],
)
def test_whose_memory_ran_out(kernel: str, verdict: str) -> None:
    found = look(code=137, oom=True, kernel=kernel, limit=42_000_000)
    assert found.oom == verdict
    assert found.kernel == tuple(line.replace(ID, ID[:12]) for line in kernel.splitlines())
    assert ("its own memory limit of 42 MB" in found.cause) == (verdict != "host")


def test_kills_of_long_ago_and_of_others_do_not_count() -> None:
    assert kernel_lines(OWN, ID, 9000.0) == ()
    assert kernel_lines(OWN, "other", 3900.0) == ()
    assert oom_verdict(None, (OWN,)) == ""


@pytest.mark.parametrize(
    ("shown", "cause"),
    [
        ({"error": "Bind for 127.0.0.1:7777 failed: port is already allocated"}, "port 7777 is taken"),
        ({"error": "listen tcp4 0.0.0.0:80: bind: address already in use"}, "port 80 is taken"),
        ({"error": 'exec: "uvicorn": executable file not found in $PATH'}, "no `uvicorn`"),
        ({"error": 'error mounting "/opt/x" to rootfs'}, "/opt/x cannot be mounted"),
        ({"logs": "exec /app: exec format error"}, "another processor architecture"),
        ({"logs": "a\nKeyError: 'OPENAI_API_KEY'"}, "OPENAI_API_KEY is missing"),
        ({"logs": "Error: required environment variable DATABASE_URL is not set"}, "DATABASE_URL is missing"),
        ({"logs": "OPENAI_API_KEY must be set"}, "OPENAI_API_KEY is missing"),
        (
            {"logs": 'FATAL: password authentication failed for user "devtools"'},
            "refuses the password of user devtools",
        ),
        ({"logs": 'FATAL:  database "nope" does not exist'}, "database nope does not exist"),
        ({"logs": 'could not translate host name "postgres" to address'}, "name postgres cannot be resolved"),
        ({"logs": "getaddrinfo ENOTFOUND redis"}, "redis cannot be resolved"),
        ({"logs": "ModuleNotFoundError: No module named 'fastapi'"}, "fastapi is not in the image"),
        ({"logs": "ConnectionRefusedError: [Errno 111] Connection refused"}, "refuses the connection"),
        ({"logs": "write: No space left on device"}, "disk is full"),
        ({"logs": "PermissionError: [Errno 13] Permission denied: '/data/x'"}, "no permission for /data/x"),
        ({"free_kb": 10}, "disk is full"),
        ({"status": "running", "code": 0, "health": "feeling bad\n"}, "its health check fails: feeling bad"),
        ({"code": 139}, "segmentation fault"),
        ({"code": 127}, "not found in the image"),
        ({"code": 3, "restarts": 5, "status": "restarting"}, "crashes in a loop (5 restarts, exit code 3)"),
        ({"code": 3}, "ended by itself with exit code 3"),
    ],
)
def test_likely_causes(shown: dict[str, object], cause: str) -> None:
    found = look(**shown)  # type: ignore[arg-type]
    assert cause in found.cause and found.advice


REFUSED = "failed programming external connectivity: Bind for 127.0.0.1:6379 failed: port is already allocated"
RESTART = "restart systemctl restart docker"


@pytest.mark.parametrize(
    ("port", "cause", "advice"),
    [
        (
            f"{RESTART}\ncontainer other-1 {ID}\nprogram docker-proxy 7",
            "taken by container other-1",
            "docker stop other-1",
        ),
        (
            f"{RESTART}\nprogram docker-proxy 7",
            "held by the Docker engine for a container that is gone",
            "systemctl restart",
        ),
        (RESTART, "held by the Docker engine for a container that is gone", "systemctl restart docker"),
        (f"{RESTART}\nprogram docker-proxy 7\nprogram nginx 8", "taken by nginx (process 8)", "ps -fp 8"),
        ("", "taken: by another container, or the engine still holds it", "docker ps --filter publish=6379"),
    ],
    ids=["container", "stale-proxy", "stale", "program", "not-looked"],
)
def test_who_has_the_port_that_the_engine_refused(port: str, cause: str, advice: str) -> None:
    found = look(error=REFUSED, code=128, port=port)
    assert found.stale_port == (6379 if "for a container that is gone" in cause else None)
    assert found.cause.startswith("port 6379 is ") and cause in found.cause
    assert advice in found.advice


def test_a_port_is_no_matter_where_the_engine_refused_none() -> None:
    assert "ended by itself" in look(code=3, port=RESTART).cause


def test_nothing_is_invented() -> None:
    found = look(status="running", code=0, logs="all is well\nlistening on port 80")
    assert (found.cause, found.advice, found.oom) == ("", "", "")


def test_an_answer_that_is_cut_short_is_no_crash() -> None:
    assert parse_diagnosis("s", "").status == "gone"
    assert parse_containers("") == ()


def test_a_container_that_is_restarted_at_once_is_judged_by_how_it_ended() -> None:
    inspect = json.dumps({"id": ID, "name": "/p-s-1", "state": {"Status": "running", "ExitCode": 0}})
    output = f"{MARK} inspect\n{inspect}\n{MARK} rc 0\n"
    found = parse_diagnosis("s", output, ProbeState("s", "restarting", "exit code 3, and its restart policy"))
    assert (found.status, found.exit_code) == ("restarting", 3) and "exit code 3" in found.cause
