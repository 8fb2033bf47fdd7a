"""The argument lists of exec and shell."""

from __future__ import annotations

import pytest

from opsctl.jobs.containers import Found
from opsctl.jobs.exec import exec_argv, shell_argv
from opsctl.model.errors import UsageError
from opsctl.model.stack import Droplet

REDIS = Found("0a1b", "deploy-redis-1", "running", "Up", "redis", "deploy", "redis", False, ())
HERE = Droplet("here", "local")


def test_words_stay_words() -> None:
    hostile = ("echo", "a b", "$(reboot)", "-x", "--")
    assert exec_argv(REDIS, hostile, HERE, tty=False) == ("docker", "exec", "-i", "0a1b", *hostile)


def test_terminal_user_and_folder() -> None:
    argv = exec_argv(REDIS, ("id",), HERE, tty=True, user="redis", workdir="/data")
    assert argv == ("docker", "exec", "-it", "-u", "redis", "-w", "/data", "0a1b", "id")


def test_the_droplets_own_socket() -> None:
    argv = exec_argv(REDIS, ("id",), Droplet("here", "local", socket="/run/user/1000/docker.sock"), tty=False)
    assert argv[:3] == ("docker", "-H", "unix:///run/user/1000/docker.sock")


def test_no_command_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        exec_argv(REDIS, (), HERE, tty=False)
    assert "opsctl shell redis" in caught.value.info.next


def test_a_shell_is_bash_where_there_is_one() -> None:
    assert shell_argv(REDIS, HERE, tty=True)[-3:-1] == ("sh", "-c")
