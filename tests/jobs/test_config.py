"""`config show`: every value, its source, and never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from opsctl.cli.schema import document
from opsctl.jobs.config import report
from opsctl.model.stackfile import with_droplets
from opsctl.model.stackfile_load import read_stack
from opsctl.render.config import print_config, shown

TEXT = """\
version: 1
droplets:
  a:
    address: root@h
    docker: {sudo: always}
services:
  pg: {phase: 1, memory: 85MB, gate: {tcp: 5432, within: 90s}, proof: ready, then: {command: [a, b]}}
redundant:
  since: 2026-01-10
  loki: "logs are elsewhere"
  grafana: {reason: "so are these", since: 2026-02-01}
stores:
  plain: {redis: "redis://:hunter2@h"}
  lazy: {postgres: "postgres://u:${PASSWORD}@h/${cmd:echo hunter2}"}
alerts: {ping: "${cmd:touch ran; echo hunter2}"}
"""


def values(tmp_path: Path) -> dict[str, tuple[Any, str, int]]:
    stack = read_stack(TEXT, tmp_path / "opsctl.yaml", environ={"PASSWORD": "hunter2"})
    return {each.path: (each.value, each.source, each.line) for each in report(stack, stack.droplets["a"], None).values}


def test_each_value_has_its_source(tmp_path: Path) -> None:
    found = values(tmp_path)
    assert found["droplets.a.address"] == ("root@h", "opsctl.yaml", 4)
    assert found["droplets.a.docker.sudo"] == ("always", "opsctl.yaml", 5)
    assert found["droplets.a.reserve"] == (200_000_000, "default", 0)
    assert found["droplets.a.provider"] == (None, "default", 0)
    assert found["services.pg.gate.within"] == (90.0, "opsctl.yaml", 7)
    assert found["services.pg.proof"] == (["ready"], "opsctl.yaml", 7)
    assert found["services.pg.then"] == (["command: a b"], "opsctl.yaml", 7)
    assert found["services.pg.optional"] == (False, "default", 0)
    assert found["redundant.loki.reason"] == ("logs are elsewhere", "opsctl.yaml", 10)
    assert found["redundant.loki.since"] == ("2026-01-10", "opsctl.yaml", 9)
    assert found["redundant.grafana.since"] == ("2026-02-01", "opsctl.yaml", 11)


def test_secrets_are_neither_shown_nor_resolved(tmp_path: Path) -> None:
    found = values(tmp_path)
    assert found["stores.plain.redis"][0] == "•••"
    assert found["stores.lazy.postgres"][0] == "${PASSWORD}, ${cmd:…}"
    assert "hunter2" not in str(found)
    assert not (tmp_path / "ran").exists()


def test_an_address_from_the_command_line_says_so() -> None:
    stack = with_droplets(read_stack("version: 1", Path("/x/opsctl.yaml"), environ={}), ["root@h"])
    found = {each.path: each.source for each in report(stack, stack.droplets["root@h"], None).values}
    assert found["droplets.root@h.address"] == "--droplet"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("memory", 85_000_000, "85 MB"),
        ("memory", None, "unknown"),
        ("phase", None, "not started by phases"),
        ("gate.within", 90.0, "1 min 30 s"),
        ("optional", False, "no"),
        ("proof", [], "none"),
        ("known_hosts", None, "your own (~/.ssh/known_hosts)"),
        ("then", ["a", "b"], "a · b"),
    ],
)
def test_values_are_shown_in_a_persons_units(key: str, value: object, text: str) -> None:
    assert shown(key, value) == text


def test_the_screen_names_every_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = read_stack(TEXT, tmp_path / "opsctl.yaml", environ={})
    print_config(report(stack, stack.droplets["a"], None), droplet="a", several=False)
    screen = capsys.readouterr().out
    assert "opsctl.yaml:7" in screen
    assert "default" in screen
    assert "was not read" in screen
    assert "hunter2" not in screen


def test_the_document_is_as_its_schema_says(opsctl: Any, tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text(TEXT)
    found = opsctl.json("config", "show", "--offline")
    assert found["exit_code"] == 0
    jsonschema.validate(found, document("config.show"))
