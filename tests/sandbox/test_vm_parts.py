"""What a machine droplet is made of, without starting one."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted, StepFailed
from opsctl.sandbox import disk, rootfs, vm_boot
from opsctl.sandbox.identity import new_key
from opsctl.sandbox.kinds import Condition, Spec
from opsctl.sandbox.vm import Vm
from opsctl.sandbox.vm_accel import KVM, TCG


def silent(line: str) -> None:
    """Take a progress line and say nothing."""


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    login, host = new_key(), new_key()
    folder = tmp_path / "droplet"
    folder.mkdir(mode=0o700)
    return Spec("tiny", folder, 2222, 2 * 1024**3, login.public, host.private, host.public)


def test_keys_travel_in_a_private_file_and_not_in_the_arguments(spec: Spec, tmp_path: Path) -> None:
    vm_boot.write_identity(spec, tmp_path)
    file = tmp_path / vm_boot.IDENTITY
    assert file.stat().st_mode & 0o777 == 0o600
    head, _, text = file.read_text().partition("=")
    assert head == "io.systemd.credential.binary:sandbox.identity"
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text))) as tar:
        entries = {entry.name: entry for entry in tar}
        assert entries["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
        kept = {name: tar.extractfile(entry) for name, entry in entries.items()}
        assert {file.read().decode() for file in kept.values() if file} >= {
            f"{spec.authorized_key}\n",
            f"{spec.host_key_public}\n",
            spec.host_key,
        }
    secret = spec.host_key.splitlines()[2]
    assert not [word for word in vm_boot.argv(spec, disk.Base(tmp_path), TCG) if secret in word]


@pytest.mark.parametrize("accel", [KVM, TCG], ids=lambda accel: accel.name)
def test_the_arguments_say_memory_port_and_accelerator(spec: Spec, tmp_path: Path, accel: object) -> None:
    assert accel in (KVM, TCG)
    chosen = KVM if accel is KVM else TCG
    argv = vm_boot.argv(spec, disk.Base(tmp_path), chosen)
    assert argv[argv.index("-m") + 1] == "2048"
    assert argv[argv.index("-netdev") + 1].endswith("hostfwd=tcp:127.0.0.1:2222-:22")
    assert argv[argv.index("-accel") + 1].startswith(chosen.name)


def test_what_is_left_of_a_machine_is_named_and_removed(spec: Spec) -> None:
    kind, here = Vm(), spec.folder / "vm"
    assert kind.status(spec).condition is Condition.ABSENT
    here.mkdir()
    assert kind.status(spec).condition is Condition.BROKEN
    (here / "ready").touch()
    assert kind.status(spec).condition is Condition.STOPPED
    kind.down(spec, silent, Cancel())
    assert list(spec.folder.iterdir()) == []
    kind.down(spec, silent, Cancel())


@pytest.mark.parametrize("made_for", ["", "no json", json.dumps(["another", "/nowhere", "build"])])
def test_leftovers_that_fit_nothing_go_before_anything_is_made(
    spec: Spec, made_for: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = spec.folder / "vm"
    here.mkdir()
    (here / "ready").touch()
    (here / "made-for").write_text(made_for)
    said: list[str] = []
    monkeypatch.setenv("OPSCTL_SANDBOX_CACHE", str(tmp_path / "cache"))
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Interrupted):
        Vm().up(spec, said.append, cancel)
    assert not here.exists()
    assert said[0].startswith("removing")


def test_without_qemu_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "qemu-system-x86" in (Vm().unusable() or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root bakes without Docker")
def test_a_bake_that_fails_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPSCTL_SANDBOX_CACHE", str(tmp_path))
    built = tmp_path / f"rootfs-{rootfs.recipe_key()}"
    built.mkdir()
    for name in ("droplet.tar", "seed.tar"):
        (built / name).write_text("this is no tar archive\n" * 1000)
    with pytest.raises(StepFailed) as failed:
        disk.ensure(silent, Cancel())
    assert "tar" in failed.value.info.why
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("vm-")] == []
