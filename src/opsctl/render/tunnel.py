"""Tunnels as a person reads them: addresses on stdout, the rest on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_tunnels(tunnels: Sequence[tuple[str, int, str]]) -> None:
    """One line a tunnel: service:port, and where it is reached."""
    width = max(len(f"{service}:{port}") for service, port, _ in tunnels)
    for service, port, local in tunnels:
        sys.stdout.write(f"{f'{service}:{port}':<{width}}  →  {local}\n")
    sys.stdout.flush()
    sys.stderr.write("Ctrl-C ends it.\n")


def warn_silent(service: str, port: int) -> None:
    """Say that nothing answers yet; the tunnel is opened all the same."""
    sys.stderr.write(f"! nothing answers at {service}:{port} yet\n")
