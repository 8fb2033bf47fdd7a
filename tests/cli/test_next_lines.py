"""What is to be typed next is a whole command, and one that leads on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import Opsctl

TARGET = "redis://127.0.0.1:2"


@pytest.mark.parametrize(
    ("words", "code", "following"),
    [
        (("status", "--stack", "/gone.yaml"), 3, "opsctl init user@host --output /gone.yaml"),
        (("search", "memory"), 3, "opsctl init user@host   (or add --in http://127.0.0.1:8080)"),
        (
            ("migrate", "redis-to-managed", "--from", "nosuch", "--to", TARGET, "--dry-run"),
            2,
            f"opsctl migrate redis-to-managed --from rediss://db.example.com:6379 --to {TARGET} --dry-run",
        ),
        (
            ("migrate", "redis-to-managed", "--from", "redis://127.0.0.1:1", "--to", TARGET, "--dry-run"),
            4,
            "redis-cli -h 127.0.0.1 -p 1 ping   (does it run, and listen there?)",
        ),
        (
            ("migrate", "qdrant-to-cloud", "--from", "http://127.0.0.1:1", "--to", "http://127.0.0.1:2", "--dry-run"),
            4,
            "curl -sS http://127.0.0.1:1/healthz   (does it run, and listen there?)",
        ),
        (
            ("search", "memory", "--in", "http://127.0.0.1:1", "--fallback", "nosuch"),
            2,
            "opsctl search memory --in http://127.0.0.1:1 --fallback postgresql://app@db.example.com/app",
        ),
        (
            ("migrate", "dragonfly-to-weaviate", "--from", TARGET, "--to", "http://127.0.0.1:1", "--vectors", "server"),
            4,
            "redis-cli -h 127.0.0.1 -p 2 ping   (does it run, and listen there?)",
        ),
        (
            ("migrate", "volumes-to-host", "pg", "-d", "root@127.0.0.1"),
            2,
            "opsctl migrate volumes-to-host pg -d root@127.0.0.1 --to /opt/stack/data/pg",
        ),
    ],
    ids=lambda value: value[0] + "-" + value[1] if isinstance(value, tuple) else "",
)
def test_next_is_a_whole_command(opsctl: Opsctl, words: tuple[str, ...], code: int, following: str) -> None:
    done = opsctl(*words)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1] == f"  next {following}"


@pytest.mark.parametrize("option", ["--from-via", "--to-via", "--on", "-d"])
@pytest.mark.parametrize("glue", [" ", "="])
def test_a_droplet_that_does_not_exist_is_replaced_wherever_it_was_named(
    opsctl: Opsctl, tmp_path: Path, option: str, glue: str
) -> None:
    if option == "-d" and glue == "=":
        glue = ""
    stack = tmp_path / "opsctl.yaml"
    stack.write_text("version: 1\ndroplets: {app: {address: root@127.0.0.1:1}}\n")
    volumes, stores = ("volumes-to-host", "pg", "--to", "/x"), ("redis-to-managed", "--from", TARGET, "--to", TARGET)
    called = ["migrate", *(volumes if option == "-d" else stores), "--stack", str(stack)]
    done = opsctl(*called, *f"{option}{glue}apq".split())
    assert done.returncode == 2, done.stderr
    wanted = " ".join(["opsctl", *called, *f"{option}{glue}app".split()])
    assert done.stderr.splitlines()[-1] == f"  next {wanted}"


@pytest.mark.parametrize(
    ("store", "words", "following"),
    [
        ("weaviate", ("collections", "status"), "curl -sS http://127.0.0.1:1/v1/.well-known/ready"),
        (
            "qdrant",
            ("migrate", "qdrant-to-cloud", "--from", "there", "--to", "http://127.0.0.1:2", "--dry-run"),
            "curl -sS http://127.0.0.1:1/healthz",
        ),
    ],
)
def test_an_address_of_the_stack_file_is_no_secret(
    opsctl: Opsctl, tmp_path: Path, store: str, words: tuple[str, ...], following: str
) -> None:
    (tmp_path / "opsctl.yaml").write_text(f'version: 1\nstores: {{there: {{{store}: "http://127.0.0.1:1"}}}}\n')
    done = opsctl(*words)
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1] == f"  next {following}   (does it run, and listen there?)"
