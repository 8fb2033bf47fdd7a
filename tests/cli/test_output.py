"""The one JSON document: valid whatever is masked in it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from opsctl.cli.output import finish
from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.result import CommandResult, DropletResult
from opsctl.model.secret import Redactor


@dataclass(frozen=True)
class Result:
    token: int
    api_key: None
    log: str
    url: str


def test_masking_never_breaks_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    redact = Redactor()
    redact.learn('se"cr\net')
    result = Result(5, None, 'PASSWORD="hunter2" se"cr\net\\', "postgres://u:hunter2@h/d")
    error = ErrorInfo("failed", "token: hunter2")
    finished = CommandResult((DropletResult("a", result, error, ExitCode.FAILED),))
    assert finish("test", finished, as_json=True, render=print, redact=redact) == 1
    shown = capsys.readouterr().out
    document = json.loads(shown)
    assert "hunter2" not in shown
    assert document["droplets"][0]["result"] == {
        "token": 5,
        "api_key": None,
        "log": 'PASSWORD="•••" •••\\',
        "url": "postgres://u:•••@h/d",
    }
    assert document["droplets"][0]["error"]["what"] == "token: •••"
