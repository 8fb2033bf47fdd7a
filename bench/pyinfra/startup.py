"""The same job as floor.sh, as a pyinfra user writes it: shell operations, retried every second."""

import json
import os
import shlex
from pathlib import Path

from pyinfra.operations import server

PLAN = json.loads(Path(os.environ["BENCH_PLAN"]).read_text())
PSQL = 'PGPASSWORD=$POSTGRES_PASSWORD exec psql -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"'


def psql(container: str, arguments: str) -> str:
    """psql over TCP inside a container, with the container's own credentials."""
    return f"docker exec -i {container} sh -c {shlex.quote(f'{PSQL} {arguments}')}"


def probe(service: dict) -> str:
    """The command that fails as long as a service does not answer."""
    if service["kind"] == "sql":
        return psql(service["container"], f"-qAtc {shlex.quote(service['target'])}") + " </dev/null"
    if service["kind"] == "command":
        return f"docker exec {service['container']} {service['target']}"
    if service["kind"] == "http":
        return f"curl -fsS -o /dev/null -m 2 {service['target']}"
    return f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{service['target']}'"


for wave in PLAN["waves"]:
    names = " ".join(wave["names"])
    compose = f"docker compose --progress quiet -f {PLAN['compose']}"
    server.shell(name=f"Start {names}", commands=[f"{compose} up -d --no-deps --no-recreate {names}"])
    for service in wave["services"]:
        server.shell(name=f"{service['name']} answers", commands=[probe(service)], _retries=60, _retry_delay=1)
        for path in service["then"]:
            apply = psql(service["container"], "-q -v ON_ERROR_STOP=1")
            server.shell(name=f"Apply {path}", commands=[f"{apply} < {shlex.quote(path)}"])
