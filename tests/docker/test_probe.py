"""Probes as scripts, and what they print as states."""

from __future__ import annotations

import pytest

from opsctl.docker.probe import parse_available, parse_probe, probe_script, split_http
from opsctl.model.engine import ProbeSpec, ProbeState
from opsctl.model.ports import Script
from opsctl.model.stack import Gate

PORTS = {8001: ("0.0.0.0", 8001), 80: ("127.0.0.1", 8080)}


@pytest.mark.parametrize(
    ("http", "wanted"),
    [
        (None, ("", "")),
        (":8000/health", ("8000", "/health")),
        (":8000", ("8000", "/")),
        ("/health", ("80", "/health")),
        ("http://localhost:9090/-/healthy?x=1", ("9090", "/-/healthy?x=1")),
    ],
)
def test_where_an_http_gate_points(http: str | None, wanted: tuple[str, str]) -> None:
    assert split_http(Gate(http=http), PORTS) == wanted


def test_a_path_alone_without_any_port_asks_port_80() -> None:
    assert split_http(Gate(http="/x"), {}) == ("80", "/x")


def script(*specs: ProbeSpec) -> Script:
    none: frozenset[str] = frozenset()
    return probe_script(
        specs,
        interval=0.05,
        since="1.5",
        settle=0,
        watch={"db": "id-db"},
        one_shot=none,
        tolerant=none,
        socket="",
        direct=True,
    )


def test_everything_variable_is_an_argument() -> None:
    hostile = "$(touch /x)'\""
    spec = ProbeSpec("a", "id-a", Gate(sql=hostile, command=("sh", hostile)), ("CMD-SHELL", hostile), PORTS, (hostile,))
    built = script(spec)
    assert hostile not in built.text and built.args.count(hostile) == 4
    assert built.args[:9] == ("0.05", "1.5", "0", "", "1", "700", "1", "db", "id-db")


def test_lines_and_states() -> None:
    assert parse_probe("@@probe a waiting HTTP 503 from :8000/x") == ProbeState("a", "waiting", "HTTP 503 from :8000/x")
    assert parse_probe("@@probe a passed ") == ProbeState("a", "passed", "")
    assert parse_probe("something else") is None
    assert parse_available("@@available 12") == 12 * 1024 and parse_available("@@probe a passed x") is None
