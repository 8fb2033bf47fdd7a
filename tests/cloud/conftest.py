"""One provider a test, and an adapter that talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cloud.provider import TOKEN, Provider, serve

from opsctl.cloud import client, connect_cloud, following
from opsctl.cloud.digitalocean import DigitalOcean
from opsctl.model.cancel import Cancel


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serve() as running:
        yield running


@pytest.fixture
def cloud(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DigitalOcean]:
    """With short pauses; how long each is allowed to be is no part of what is tested."""
    monkeypatch.setattr(following, "_FIRST", 0.01)
    monkeypatch.setattr(following, "_LONGEST", 0.05)
    monkeypatch.setattr(following, "_STATE_BOUND", 0.4)
    monkeypatch.setattr(following, "_LAG", (0.01, 0.0))
    monkeypatch.setattr(client, "BACKOFF", 0.02)
    found = connect_cloud(
        {"api": provider.url}, learn=lambda _: None, folder=tmp_path, environ={"DIGITALOCEAN_TOKEN": TOKEN}
    )
    yield found
    found.close()


@pytest.fixture
def cancel() -> Cancel:
    return Cancel(30.0)
