"""What a reverse proxy lets through, and what became of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.model.run import RunResult


@dataclass(frozen=True)
class Route:
    """One way through the proxy: what is asked for, and which services answer or decide. Lines count from 1."""

    matcher: str  # "/grafana/*"; "*" for what nothing else takes
    upstreams: tuple[str, ...]  # services, or hosts, as the proxy's configuration names them
    first: int
    last: int


@dataclass(frozen=True)
class Proxy:
    """A droplet's reverse proxy as it was found. `file` is on the droplet, `inside` is what its container calls it."""

    service: str
    container: str
    running: bool
    file: str
    inside: str
    single: bool  # the file alone is mounted: another one in its place would not be seen in there
    kept: str  # where the first configuration is kept; "" where nothing was changed yet
    text: str


@dataclass(frozen=True)
class ProxyResult:
    """What the proxy lets through now (or, with `dry_run`, would), and what was taken away or put back."""

    routes: tuple[Route, ...]
    gone: tuple[Route, ...]
    back: tuple[Route, ...]
    file: str
    kept: str
    dry_run: bool = False
    plan: Mapping[str, Any] | None = None
    run: RunResult | None = None
