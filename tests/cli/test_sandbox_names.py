"""A sandbox whose name was mistyped: told, and nothing is left of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from tests.conftest import Opsctl


def _with_state(opsctl: Opsctl, *words: str) -> subprocess.CompletedProcess[str]:
    return replace(opsctl, environment={"OPSCTL_SANDBOX_STATE": str(opsctl.folder)})(*words)


@pytest.mark.parametrize("words", [("break", "oom"), ("mend", "oom"), ("reset",), ("ssh",)])
def test_a_name_that_is_none_leaves_nothing(opsctl: Opsctl, words: tuple[str, ...]) -> None:
    told = _with_state(opsctl, "sandbox", *words, "--name", "nosuch")
    assert told.returncode == 2, told.stderr
    assert "there is no sandbox 'nosuch'" in told.stderr
    assert opsctl.folder is not None
    assert list(opsctl.folder.rglob("*")) == []


def test_nothing_to_take_away_is_no_error(opsctl: Opsctl) -> None:
    gone = _with_state(opsctl, "sandbox", "down", "--name", "nosuch")
    assert gone.returncode == 0, gone.stderr
    assert opsctl.folder is not None
    assert list(opsctl.folder.rglob("*")) == []
