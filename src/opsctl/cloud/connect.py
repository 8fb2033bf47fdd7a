"""From a droplet's provider entry to a cloud; nothing is asked before it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from opsctl.cloud.digitalocean import API, DigitalOcean
from opsctl.cloud.token import find_token
from opsctl.model.secret import Secret


def connect_cloud(
    provider: Mapping[str, str | int],
    *,
    learn: Callable[[Secret], None],
    folder: Path,
    environ: Mapping[str, str] | None = None,
) -> DigitalOcean:
    """The account that a provider entry names. `learn` is told the token; commands run in `folder`."""

    def token() -> Secret:
        found = find_token(provider, environ=os.environ if environ is None else environ, folder=folder)
        learn(found)
        return found

    return DigitalOcean(token, api=str(provider.get("api", API)))
