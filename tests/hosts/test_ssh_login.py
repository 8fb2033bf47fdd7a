"""Logging in: key files, agents, locked keys, and what is said when nothing works."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hosts.support import Sshd, keygen, ssh_host

from opsctl.hosts.auth import public_blob
from opsctl.hosts.connection import Answers
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, UnreachableError
from opsctl.model.ports import Script
from opsctl.model.secret import Secret


def log_in(sshd: Sshd, state: Path, key: str | None, answers: Answers | None = None) -> None:
    host = ssh_host(sshd.droplet(key=key), state, answers=answers)
    try:
        assert host.run(Script("echo in"), cancel=Cancel(30), timeout=20).text == "in\n"
    finally:
        host.close()


def allow(sshd: Sshd, key: Path) -> None:
    sshd.authorized.write_text(sshd.authorized.read_text() + key.with_name(f"{key.name}.pub").read_text())


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None
        Cancel().wait(0.05)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.terminate()
    process.wait()


def add(agent: Path, key: Path) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment, capture_output=True)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_of_every_kind(sshd: Sshd, state: Path, tmp_path: Path, kind: str) -> None:
    key = keygen(tmp_path / "id", kind=kind)
    allow(sshd, key)
    log_in(sshd, state, str(key))


def test_a_wrong_key_says_what_was_tried(sshd: Sshd, state: Path, tmp_path: Path) -> None:
    key = keygen(tmp_path / "wrong")
    with pytest.raises(UnreachableError) as caught:
        log_in(sshd, state, str(key))
    info = caught.value.info
    assert caught.value.exit_code is ExitCode.UNREACHABLE and info.code == "auth-failed"
    assert f"tried {key}" in info.why and f"-p {sshd.port}" in info.next and "ssh-copy-id" in info.next


def test_without_any_key_it_says_how_to_make_one(sshd: Sshd, state: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        log_in(sshd, state, str(tmp_path / "none"))
    assert "no key to try" in caught.value.info.why and "ssh-keygen" in caught.value.info.next


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_locked_key_is_opened_by_a_person(sshd: Sshd, state: Path, tmp_path: Path, kind: str) -> None:
    key = keygen(tmp_path / "locked", kind=kind, passphrase="open sesame")
    allow(sshd, key)
    asked: list[str] = []

    def ask(path: str) -> Secret:
        asked.append(path)
        return Secret("open sesame")

    log_in(sshd, state, str(key), Answers(ask_passphrase=ask))
    assert asked == [str(key)]


@pytest.mark.parametrize("answers", [None, Answers(ask_passphrase=lambda _: Secret("wrong"))])
def test_a_key_that_stays_locked_is_named(sshd: Sshd, state: Path, tmp_path: Path, answers: Answers | None) -> None:
    key = keygen(tmp_path / "locked", passphrase="open sesame")
    with pytest.raises(UnreachableError) as caught:
        log_in(sshd, state, str(key), answers)
    assert str(key) in caught.value.info.why
    assert "open sesame" not in caught.value.info.why and "wrong" not in caught.value.info.why
    if answers is None:
        assert caught.value.info.next == f"ssh-add {key}"


def test_the_agents_keys_are_used(sshd: Sshd, state: Path, tmp_path: Path, agent: Path) -> None:
    key = keygen(tmp_path / "in_agent")
    allow(sshd, key)
    add(agent, key)
    key.unlink()
    log_in(sshd, state, None)


def test_a_locked_key_whose_twin_is_in_the_agent_asks_nobody(
    sshd: Sshd, state: Path, tmp_path: Path, agent: Path
) -> None:
    key = keygen(tmp_path / "id")
    allow(sshd, key)
    add(agent, key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", str(key)], check=True)
    key.with_suffix(".pub").unlink()
    log_in(sshd, state, str(key))


def test_identities_only_keeps_the_agents_other_keys_back(
    sshd: Sshd, state: Path, tmp_path: Path, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):  # more than sshd's MaxAuthTries
        add(agent, keygen(tmp_path / f"other{number}"))
    with pytest.raises(UnreachableError) as caught:
        log_in(sshd, state, None)
    assert "ended the connection" in caught.value.info.why
    config = tmp_path / "config"
    config.write_text(f"Match host 127.0.0.1 exec true\n  IdentitiesOnly yes\n  IdentityFile {sshd.key}\n")
    monkeypatch.setenv("OPSCTL_SSH_CONFIG", str(config))
    log_in(sshd, state, None)


def test_an_agent_that_is_gone_leaves_the_files(
    sshd: Sshd, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    log_in(sshd, state, str(sshd.key))


def test_the_public_part_is_read_without_the_passphrase(tmp_path: Path) -> None:
    key = keygen(tmp_path / "id", passphrase="open sesame")
    beside = public_blob(str(key))
    key.with_suffix(".pub").unlink()
    assert beside is not None and public_blob(str(key)) == beside
    (tmp_path / "text").write_text("nothing like a key")
    assert public_blob(str(tmp_path / "text")) is None
