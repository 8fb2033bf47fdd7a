"""Which kind is taken, and what is refused before anything is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, ExitCode, OpsError, UsageError
from opsctl.sandbox import fleet, registry
from opsctl.sandbox.paths import sandbox_dir


def quiet(_text: str) -> None:
    """Nobody listens."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPSCTL_SANDBOX_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def remembered(name: str, **changed: object) -> None:
    """A sandbox that was made once: a vm, for which nothing has to be asked."""
    said = {"name": name, "kind": "vm", "memory": 1 << 30, "droplets": [{"name": name, "port": 1}], **changed}
    sandbox_dir(name).mkdir(parents=True)
    (sandbox_dir(name) / "sandbox.json").write_text(json.dumps(said))


def test_where_no_kind_works_every_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        registry.choose(None, quiet)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "container: docker is not installed" in caught.value.info.why
    assert "vm: " in caught.value.info.why
    assert "qemu" in caught.value.info.next


def test_the_kind_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(ConfigError) as caught:
        registry.choose("container", quiet)
    assert caught.value.info.why


@pytest.mark.parametrize(("kind", "memory"), [("container", None), (None, 2 << 30)])
def test_another_kind_or_size_would_lose_what_is_there(kind: str | None, memory: int | None) -> None:
    remembered("dev")
    with pytest.raises(UsageError) as caught:
        fleet.up("dev", kind, None, memory, quiet, Cancel())
    assert caught.value.info.next == "opsctl sandbox down --name dev"


def test_more_droplets_than_a_laptop_holds_are_refused() -> None:
    remembered("dev", droplets=[{"name": f"dev-{n}", "port": n} for n in range(1, 18)])
    sandbox = fleet.get("dev")
    assert len(sandbox.droplets) == 17
    with pytest.raises(UsageError):
        fleet.plan("fleet", "vm", 17, 1 << 30, None)


def test_a_note_that_cannot_be_read_says_what_to_remove() -> None:
    remembered("dev", droplets=None)
    with pytest.raises(OpsError) as caught:
        fleet.status("dev")
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "remove" in caught.value.info.next


def test_the_stack_file_is_private_and_names_every_droplet(state: Path) -> None:
    sandbox = fleet.plan("fleet", "vm", 3, 1 << 30, None)
    fleet.save(sandbox)
    assert sandbox.stack_file.stat().st_mode & 0o777 == 0o600
    text = sandbox.stack_file.read_text()
    assert [spec.name for spec in sandbox.droplets] == ["fleet-1", "fleet-2", "fleet-3"]
    assert all(f"root@127.0.0.1:{spec.port}" in text for spec in sandbox.droplets)
    hosts = (state / "fleet" / "known_hosts").read_text().splitlines()
    assert len({line.split()[2] for line in hosts}) == 3, "every droplet has a host key of its own"


def test_a_sandbox_can_grow_and_keeps_what_it_has() -> None:
    fleet.save(fleet.plan("dev", "vm", None, 1 << 30, None))
    before = fleet.get("dev")
    grown = fleet.plan("dev", "vm", 2, 1 << 30, before)
    assert grown.droplets[0] == before.droplets[0]
    assert [spec.name for spec in grown.droplets] == ["dev", "dev-2"]


def test_down_of_one_that_was_never_made_leaves_nothing(state: Path) -> None:
    assert fleet.down("dev", quiet, Cancel()) is False
    state.mkdir()
    (state / ".dev.lock").touch()
    assert fleet.down("dev", quiet, Cancel()) is False
    assert list(state.iterdir()) == []
