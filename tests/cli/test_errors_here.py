"""Errors that need no droplet: each ends with what, why, the next command to type, and its exit code."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import Opsctl

GOOD = "version: 1\ndroplets:\n  agents: {address: root@127.0.0.1:PORT}\nservices:\n  postgres: {phase: 1}\n"


@dataclass(frozen=True)
class Case:
    """`stack` is the stack file's text (None: no file); `words` are what is typed."""

    name: str
    stack: str | None
    words: tuple[str, ...]
    exit_code: int
    code: str
    says: tuple[str, ...]  # all of them somewhere in what, why and next
    line: int | None = None


CASES = (
    Case("no-stack-file", None, ("startup",), 3, "config", ("no droplet", "opsctl init", "-d")),
    Case("stack-file-missing", None, ("status", "--stack", "no.yaml"), 3, "config", ("no.yaml",)),
    Case("broken-yaml", "version: 1\ndroplets: {a: [\n", ("status",), 3, "config", ("opsctl.yaml",)),
    Case("unknown-key", GOOD + "servises: {}\n", ("status",), 3, "config", ("servises", "services"), 6),
    Case(
        "unknown-service-key",
        GOOD.replace("{phase: 1}", "{phaze: 1}"),
        ("status",),
        3,
        "config",
        ("services.postgres", "phaze", "phase"),
        5,
    ),
    Case("bad-size", GOOD.replace("phase: 1", "memory: lots"), ("status",), 3, "config", ("lots", "270MB"), 5),
    Case("unknown-droplet", GOOD, ("status", "-d", "agent"), 2, "usage", ("agent", "agents")),
    Case("unreachable", GOOD, ("status",), 4, "refused", ("127.0.0.1",)),
    Case("unreachable-change", GOOD, ("startup",), 4, "refused", ("127.0.0.1",)),
    Case("no-such-host", GOOD, ("status", "-d", "root@no-such-host.invalid"), 4, "dns", ("no-such-host.invalid",)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_error(case: Case, opsctl: Opsctl) -> None:
    assert opsctl.folder is not None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        if case.stack is not None:
            text = case.stack.replace("PORT", str(taken.getsockname()[1]))
            (opsctl.folder / "opsctl.yaml").write_text(text)
        shown = opsctl(*case.words)
        document = opsctl.json(*case.words)
    assert shown.returncode == case.exit_code, shown.stderr
    assert shown.stdout == ""
    assert document["exit_code"] == case.exit_code
    assert document["ok"] is False
    error = document["error"] or document["droplets"][0]["error"]
    assert error["code"] == case.code
    assert error["what"]
    assert error["why"]
    assert error["next"]
    told = " ".join((error["what"], error["why"], error["next"], str(error["path"])))
    for word in case.says:
        assert word in told
    if case.line is not None:
        assert error["line"] == case.line
    for text in (error["what"], error["next"]):
        # What to type next is this call as it was typed, with its --json.
        assert text.removesuffix(" --json").splitlines()[0][:40] in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_traceback_is_shown_only_when_asked_for(opsctl: Opsctl) -> None:
    assert "Traceback" not in opsctl("status").stderr


def test_secrets_of_the_stack_file_are_never_shown(opsctl: Opsctl) -> None:
    assert isinstance(opsctl.folder, Path)
    secret = "hunter2-very-secret"
    text = GOOD.replace("PORT", "1") + f"stores: {{checkpoints: {{postgres: 'postgresql://u:{secret}@h/db'}}}}\n"
    (opsctl.folder / "opsctl.yaml").write_text(text)
    for words in (("config", "show"), ("config", "show", "--json"), ("status",), ("status", "--json", "-vv")):
        done = opsctl(*words)
        assert secret not in done.stdout + done.stderr, words
        assert done.stdout or done.stderr
    assert json.loads(opsctl("config", "show", "--offline", "--json").stdout)["ok"]
