"""Every command: listed with the help it really has, the shared options, and a documented way out."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import typer

from opsctl.cli import commands


def opsctl(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "TERM": "dumb", "COLUMNS": "100", **variables}
    return subprocess.run(
        [sys.executable, "-m", "opsctl", *words], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda c: c.name)
def test_the_listed_help_is_the_commands_own(command: commands.Command) -> None:
    app = typer.Typer()
    commands.load(command)(app)
    names = {info.name: info for info in app.registered_commands}
    groups = {group.name: group for group in app.registered_groups}
    assert command.name in names or command.name in groups
    shown = names.get(command.name) or groups[command.name]
    assert shown.rich_help_panel == command.panel
    callback = shown.callback if command.name in names else None
    text = shown.help if isinstance(shown.help, str) else (callback.__doc__ if callback else "") or ""
    assert text.strip().splitlines()[0].strip() == command.help


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda c: c.name)
def test_every_command_explains_itself(command: commands.Command) -> None:
    done = opsctl(command.name, "--help")
    assert done.returncode == 0, done.stderr
    assert command.help.split(",")[0].split(".")[0][:30] in re.sub(r"\s+", " ", done.stdout)


def test_a_typo_is_a_usage_error_that_names_the_nearest() -> None:
    done = opsctl("statis")
    assert done.returncode == 2
    assert "status" in done.stderr


def test_no_arguments_show_the_help() -> None:
    done = opsctl()
    assert "Daily" in done.stdout + done.stderr


def test_an_error_is_json_where_json_was_asked_for() -> None:
    done = opsctl("status", "--json", "--stack", "/nonexistent/opsctl.yaml")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert document["schema"] == "opsctl.status/1"
    assert document["ok"] is False
    assert document["exit_code"] == 3
    assert document["error"]["what"]
    assert document["error"]["next"]


@pytest.mark.parametrize(
    ("words", "what", "following"),
    [
        (
            ("exec", "-d", "box", "postgres", "psql", "-U", "devtools"),
            "no such option: -U",
            "put -- before the command: opsctl exec -d box postgres -- psql -U devtools",
        ),
        (("restart",), "SERVICE is missing", "opsctl restart SERVICE"),
        (("lease", "break"), "--reason is missing", "opsctl lease break --reason TEXT"),
        (("startup", "--phase", "two"), "invalid value for '--phase'", "opsctl startup --help"),
    ],
)
def test_wrong_arguments_are_told_as_any_other_error(words: tuple[str, ...], what: str, following: str) -> None:
    done = opsctl(*words)
    assert (done.returncode, done.stdout) == (2, "")
    head, *_, last = done.stderr.splitlines()
    assert head.startswith(f"✗ {what}")
    assert last == f"  next {following}"
    told = json.loads(opsctl(*words, "--json").stdout) if words[0] != "exec" else {}
    assert not told or (told["exit_code"], told["error"]["code"]) == (2, "usage")


def test_a_group_without_a_command_shows_its_help() -> None:
    done = opsctl("migrate")
    assert (done.returncode, done.stderr) == (2, "")
    assert "volumes-to-host" in done.stdout
