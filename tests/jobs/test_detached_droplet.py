"""A migration that a droplet runs by itself, begun, watched, killed and taken back from elsewhere."""

from __future__ import annotations

import base64
import csv
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet, Opsctl

COUNT = 600
KEY = base64.b64encode(os.urandom(32)).decode()
PASSWORD = "only-for-this-test"
WORDS = ("--from", "jobs", "--to", "table", "--match", "job:*", "--table", "jobs")
FILL = (
    f"for i=1,{COUNT} do redis.call('HSET','job:'..i,'n',i,'name','job '..i) end redis.call('PEXPIRE','job:1',9e8)"
    " return redis.call('DBSIZE')"
)


@pytest.fixture
def jobs(droplet: Droplet, tmp_path: Path) -> Iterator[Droplet]:
    """A Redis with hashes and a PostgreSQL on the droplet, and a stack file that names both."""
    droplet.sh("docker run -d --name memory devtools/redis:8")
    droplet.sh(f"docker run -d --name pg -e POSTGRES_PASSWORD={PASSWORD} devtools/postgres:17")
    droplet.sh("for i in $(seq 60); do docker exec pg pg_isready -h 127.0.0.1 -U postgres && break; sleep 0.5; done")
    assert droplet.sh(f'docker exec memory redis-cli eval "{FILL}" 0').strip() == f"{COUNT}"
    stack = tmp_path / "opsctl.yaml"
    stores = (
        'stores:\n  jobs: {redis: "redis://memory:6379", via: DROPLET, export_key: "${EXPORT_KEY}"}\n'
        '  table: {postgres: "postgresql://postgres:${PG_SECRET}@pg/postgres", via: DROPLET}\n'
    )
    stack.write_text(droplet.stack_file.read_text() + stores.replace("DROPLET", droplet.name))
    environment = {**droplet.opsctl.environment, "OPSCTL_STACK": str(stack), "PG_SECRET": PASSWORD, "EXPORT_KEY": KEY}
    yield replace(droplet, stack_file=stack, opsctl=Opsctl(environment, tmp_path))
    droplet.sh("cat /var/lib/opsctl/migrations/2*/pid 2>/dev/null | xargs -r kill 2>/dev/null", check=False)
    droplet.sh("docker rm -fv memory pg", check=False)


def status(opsctl: Opsctl, name: str) -> dict[str, Any]:
    found: dict[str, Any] = opsctl.json("migrate", "status", "last", "-d", name)["droplets"][0]["result"]["runs"][0]
    return found


def _later(droplet: Droplet) -> str:
    """An hour of the droplet's day that is far away."""
    hour = (int(droplet.sh("date +%H")) + 12) % 24
    return f"{hour:02d}:00-{hour:02d}:59"


def rows(droplet: Droplet) -> int:
    return int(droplet.sh("docker exec pg psql -U postgres -Atc 'SELECT count(*) FROM jobs'"))


def keys(droplet: Droplet) -> int:
    return int(droplet.sh("docker exec memory redis-cli dbsize"))


def test_from_its_beginning_to_its_rollback(jobs: Droplet, tmp_path: Path) -> None:
    begun = jobs.opsctl("migrate", "redis-to-postgres", *WORDS, "--window", _later(jobs), "--on", jobs.name, "--detach")
    assert begun.returncode == 0, begun.stderr
    assert "no systemd" in begun.stderr
    elsewhere = Opsctl({**jobs.opsctl.environment, "OPSCTL_STACK": str(jobs.stack_file)}, tmp_path)
    elsewhere.environment.pop("PG_SECRET")  # whoever looks after it needs no secret
    run = status(elsewhere, jobs.name)
    assert run["state"] == "waiting"
    folder = f"/var/lib/opsctl/migrations/{run['run_id']}"
    assert not jobs.sh(f"find {folder} /var/lib/opsctl/migrations/ledgers -perm /077")
    assert PASSWORD in jobs.sh(f"cat {folder}/secrets.env")
    told = jobs.sh(f"cat {folder}/run.json {folder}/log; tr '\\0' ' ' </proc/$(cat {folder}/pid)/cmdline")
    assert "redis-to-postgres" in told
    assert PASSWORD not in told
    leases = {each["scope"]: each["state"] for each in _leases(elsewhere, jobs.name)}
    assert leases["data:redis-memory-6379-0"] == "held"

    assert elsewhere("migrate", "pause", "last", "-d", jobs.name).returncode == 0
    for _ in range(60):
        run = status(elsewhere, jobs.name)
        if run["state"] == "paused":
            break
        time.sleep(0.2)
    assert run["state"] == "paused"
    jobs.sh(f"kill -9 $(cat {folder}/pid)")
    shown = elsewhere("migrate", "status", "-d", jobs.name).stdout
    assert f"interrupted: opsctl migrate resume {run['run_id']} -d {jobs.name}" in shown

    resumed = elsewhere("migrate", "resume", "last", "--window", "00:00-24:00", "-d", jobs.name)
    assert resumed.returncode == 0, resumed.stderr
    assert (rows(jobs), keys(jobs)) == (COUNT, COUNT)
    kept = jobs.sh(f"cat {folder}/export.jsonl")
    assert kept.count('{"sealed":') == COUNT and "job:" not in kept
    table = tmp_path / "jobs.csv"
    written = elsewhere.json("migrate", "export", "last", "-d", jobs.name, "--to", str(table))
    assert written["droplets"][0]["result"]["records"] == COUNT
    assert table.stat().st_mode & 0o777 == 0o600
    with table.open(newline="") as file:
        assert {each["key"] for each in csv.DictReader(file)} == {f"job:{number + 1}" for number in range(COUNT)}
    assert elsewhere("migrate", "finish", "last", "-d", jobs.name).returncode == 2
    assert elsewhere("migrate", "finish", "last", "-d", jobs.name, "--yes").returncode == 0
    assert (rows(jobs), keys(jobs)) == (COUNT, 0)
    assert elsewhere("migrate", "rollback", "last", "-d", jobs.name, "--yes").returncode == 0
    assert (rows(jobs), keys(jobs)) == (0, COUNT)
    assert int(jobs.sh("docker exec memory redis-cli pttl job:1")) > 0

    jobs.sh("mkdir /var/lib/opsctl/migrations/app/0.0.1-older; echo x >/var/lib/opsctl/migrations/app/0.0.1-older/x")
    prune = ("migrate", "prune", "-d", jobs.name)
    young = elsewhere.json(*prune, "--dry-run")["droplets"][0]["result"]
    assert [(each["kind"], each["name"]) for each in young["removed"]] == [("app", "0.0.1-older")]
    assert elsewhere(*prune, "--keep-days", "0").returncode == 2, "nobody can be asked"
    gone = elsewhere.json(*prune, "--keep-days", "0", "--yes")["droplets"][0]["result"]
    assert {each["name"] for each in gone["removed"]} == {run["run_id"], "0.0.1-older"} and not gone["dry_run"]
    assert not jobs.sh(f"ls -d {folder} /var/lib/opsctl/migrations/app/0.0.1-older 2>/dev/null", check=False)
    assert jobs.sh("/var/lib/opsctl/migrations/app/current/bin/opsctl --version")


def _leases(opsctl: Opsctl, name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = opsctl.json("lease", "show", "-d", name)["droplets"][0]["result"]["leases"]
    return found


def test_what_is_carried_serves_the_runs_of_before_too(jobs: Droplet) -> None:
    """Every run goes on with the newest opsctl there, which another migration may have brought."""
    jobs.stack_file.write_text(
        jobs.stack_file.read_text() + f'  copy: {{redis: "redis://memory:6379/1", via: {jobs.name}}}\n'
    )
    later = ("--window", _later(jobs), "--on", jobs.name, "--detach")
    first = jobs.opsctl("migrate", "redis-to-postgres", *WORDS, *later)
    assert first.returncode == 0, first.stderr
    second = jobs.opsctl("migrate", "redis-to-managed", "--from", "jobs", "--to", "copy", *later)
    assert "data:redis-memory-6379-0" in second.stderr, "the first one holds its source, but it was carried by then"
    carried = set(
        jobs.sh("find -L /var/lib/opsctl/migrations/app/current/lib -maxdepth 3 -type d -printf '%f\\n'").split()
    )
    assert {"redis", "psycopg", "psycopg_binary"} <= carried
    assert not {"weaviate", "qdrant_client"} & carried


def test_what_does_not_fit_is_refused(jobs: Droplet) -> None:
    jobs.stack_file.write_text(jobs.stack_file.read_text().replace("reserve: 200MB", "reserve: 100GB"))
    refused = jobs.opsctl("migrate", "redis-to-postgres", *WORDS, "--on", jobs.name, "--detach")
    assert refused.returncode == 1
    assert "does not fit" in refused.stderr
    assert "are kept in reserve" in refused.stderr
    assert not jobs.sh("ls -d /var/lib/opsctl/migrations/2* 2>/dev/null", check=False)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--detach",), "on which droplet?"),
        (("--on", "local", "--dry-run"), "a dry run is made from here"),
        (("--on", "local", "--from-via", "root@192.0.2.1"), "--from-via local"),
    ],
)
def test_what_does_not_go_together(opsctl: Opsctl, more: tuple[str, ...], said: str) -> None:
    done = opsctl("migrate", "redis-to-postgres", *WORDS, *more)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("to", [("--to", "facts"), ("--to=facts",)])
def test_a_store_behind_another_droplet_is_refused_before_anything_is_carried(
    opsctl: Opsctl, tmp_path: Path, to: tuple[str, ...]
) -> None:
    stack = tmp_path / "opsctl.yaml"
    stack.write_text(
        "version: 1\n"
        "droplets:\n  one: {address: root@192.0.2.1}\n  two: {address: root@192.0.2.2}\n"
        "stores:\n  memory: {redis: 'redis://127.0.0.1:6379/0', via: one}\n"
        "  facts: {postgres: 'postgresql://app@127.0.0.1/app', via: two}\n"
    )
    words = (
        "migrate",
        "redis-to-postgres",
        "--from",
        "memory",
        *to,
        "--match",
        "memory:*",
        "--table",
        "t",
        "--stack",
        str(stack),
    )
    done = opsctl(*words, "--on", "one", "--detach")
    assert done.returncode == 2, done.stderr
    said = " ".join(done.stderr.split())
    assert "--to facts: the store is behind two, and one does not reach two through you" in said
    assert shlex.join(("opsctl", *words)) + " (runs it from here)" in said
    assert "--to postgresql://app@db.example.com/app" in said
