"""Probes as scripts, and what they print as states. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from opsctl.model.engine import ProbeSpec, ProbeState
from opsctl.model.ports import Script
from opsctl.model.stack import Gate

_HTTP = re.compile(r"^(?:https?://[^/:]*)?(?::(?P<port>\d+))?(?P<path>/.*)?$")


@cache
def _text() -> str:
    return Path(__file__).with_name("probe.sh").read_text(encoding="utf-8")


def split_http(gate: Gate, ports: Mapping[int, tuple[str, int]]) -> tuple[str, str]:
    """Container port and path of a gate's `http`; ("", "") without one.

    A path without a port asks the first port that the container publishes.
    """
    if gate.http is None:
        return "", ""
    match = _HTTP.match(gate.http)
    port = match["port"] if match else None
    path = (match["path"] if match else None) or "/"
    return port or str(min(ports, default=80)), path


def probe_script(
    specs: Sequence[ProbeSpec],
    *,
    interval: float,
    since: str,
    settle: float,
    watch: Mapping[str, str],
    one_shot: frozenset[str],
    tolerant: frozenset[str],
    socket: str,
    direct: bool,
    grace: float = 0.7,
) -> Script:
    """The loop over all `specs`; `direct` says whether containers can be reached at their own addresses.

    `grace`: seconds that the first try of each may take beyond the gate's own bound.
    """
    watched = [(name, container) for name, container in watch.items()]
    args = [f"{interval:g}", since, f"{settle:g}", socket, "1" if direct else "0"]
    args += [str(round(grace * 1000)), str(len(watched))]
    for name, container in watched:
        args += [name, container]
    args.append(str(len(specs)))
    for spec in specs:
        args += _spec(spec, spec.service in one_shot, spec.service in tolerant)
    return Script(_text(), tuple(args))


def _spec(spec: ProbeSpec, one_shot: bool, tolerant: bool) -> list[str]:
    gate = spec.gate
    port, path = split_http(gate, spec.ports)
    words = [
        spec.service,
        spec.container,
        "1" if one_shot else "",
        "1" if tolerant else "",
        str(round(gate.within * 1000)),
        port,
        path,
        str(gate.status or ""),
        str(gate.tcp or ""),
        gate.sql or "",
    ]
    for group in (spec.proof, gate.command or (), () if one_shot else spec.health_test):
        words += [str(len(group)), *group]
    return words


def parse_probe(line: str) -> ProbeState | None:
    """One line of the loop's output; None for what is not a state."""
    if not line.startswith("@@probe "):
        return None
    _, service, state, *detail = line.split(" ", 3)
    return ProbeState(service, state, detail[0].strip() if detail else "")


def parse_available(line: str) -> int | None:
    """MemAvailable in bytes, where a line carries it."""
    if not line.startswith("@@available "):
        return None
    return int(line.split()[1]) * 1024
