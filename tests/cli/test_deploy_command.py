"""deploy, rollback, releases and env as they are typed wrongly: said before anything is connected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import BASE_ENVIRONMENT, Opsctl

STACK = "version: 1\ndroplets: {a: {address: root@127.0.0.1:1, compose: /opt/x/docker-compose.yml}}\n"


@pytest.fixture
def here(opsctl: Opsctl, tmp_path: Path) -> Opsctl:
    """opsctl beside a stack file whose droplet nobody can reach."""
    (tmp_path / "opsctl.yaml").write_text(STACK)
    return opsctl


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("deploy", "--ref", "main", "--push", "."), 2, "exclude each other"),
        (("deploy", "--ref=--upload-pack=x"), 2, "is no name of a branch"),
        (("deploy", "--into", "/opt/y"), 2, "says where --push puts its files"),
        (("deploy", "--push", "nothing-here"), 2, "nothing-here is not there"),
        (("deploy", "--push", ".", "--into", "y"), 2, "is not a whole path"),
        (("deploy", "--settle", "soon"), 2, "--settle"),
        (("deploy", "--build-memory", "much"), 2, "--build-memory"),
        (("env", "set", "TOKEN=hush-hush-hush"), 2, "among the arguments"),
        (("env", "set", "1A"), 2, "cannot be the name of a variable"),
        (("env", "set", "TOKEN"), 2, "no value of TOKEN came over stdin"),
        (("env", "diff", "--with", "nothing"), 2, "is not a file"),
        (("deploy",), 4, "127.0.0.1"),
        (("rollback",), 4, "127.0.0.1"),
        (("releases", "list"), 4, "127.0.0.1"),
    ],
)
def test_what_is_typed_wrongly_is_said_with_what_to_type(
    here: Opsctl, words: tuple[str, ...], code: int, says: str
) -> None:
    done = here(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr and "hush" not in done.stderr + done.stdout
    assert "next" in done.stderr and "Traceback" not in done.stderr


def test_a_value_among_the_arguments_is_nowhere_in_the_document(here: Opsctl) -> None:
    document = here.json("env", "set", "TOKEN=hush-hush-hush")
    assert document["exit_code"] == 2 and "hush" not in str(document)


def test_a_value_that_is_too_long_is_refused(here: Opsctl) -> None:
    argv = [sys.executable, "-m", "opsctl", "env", "set", "TOKEN"]
    done = subprocess.run(
        argv, input="x" * 70_000, capture_output=True, text=True, cwd=here.folder, env=BASE_ENVIRONMENT, check=False
    )
    assert done.returncode == 2 and "longer than" in done.stderr
