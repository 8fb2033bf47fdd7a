"""Fixtures: a real sshd, and a host reached either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.hosts.support import SSHD, Sshd, ssh_host

from opsctl.hosts.agent import Settings
from opsctl.hosts.base import AgentHost
from opsctl.hosts.local import LocalHost
from opsctl.model.cancel import Cancel


@pytest.fixture(autouse=True)
def _own_ssh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "ssh_config"
    config.touch()
    monkeypatch.setenv("OPSCTL_SSH_CONFIG", str(config))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture(scope="session")
def _sshd_there() -> None:
    if not Path(SSHD).exists():
        pytest.skip("no sshd on this machine (apt install openssh-server)")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory, _sshd_there: None) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def make_sshd(tmp_path: Path, _sshd_there: None) -> Iterator[Callable[..., Sshd]]:
    servers: list[Sshd] = []

    def make(**settings: object) -> Sshd:
        servers.append(Sshd(tmp_path / f"sshd{len(servers)}", **settings))  # type: ignore[arg-type]
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def cancel() -> Cancel:
    return Cancel(60)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(params=["local", "ssh"])
def host(request: pytest.FixtureRequest, state: Path) -> Iterator[AgentHost]:
    """The same promises for this machine and for one behind SSH."""
    found: AgentHost
    if request.param == "local":
        found = LocalHost(Settings("box"), state_dir=str(state))
    else:
        found = ssh_host(request.getfixturevalue("sshd").droplet(), state)
    yield found
    found.close()
