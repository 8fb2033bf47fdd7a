"""Host keys: known, unknown, changed, revoked; on record in every way that OpenSSH writes them."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hosts.support import Sshd, keygen, ssh_host

from opsctl.hosts.connection import Answers
from opsctl.hosts.hostkeys import fingerprint, on_record
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, UnreachableError
from opsctl.model.ports import Script


def attempt(sshd: Sshd, known: Path, state: Path, answers: Answers | None = None) -> UnreachableError | None:
    host = ssh_host(sshd.droplet(known_hosts=str(known)), state, answers=answers)
    try:
        assert host.run(Script("echo in"), cancel=Cancel(30), timeout=20).text == "in\n"
    except UnreachableError as error:
        return error
    finally:
        host.close()
    return None


def shown(path: Path) -> str:
    """The fingerprint as ssh-keygen tells it."""
    return subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True).stdout.split()[
        1
    ]


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_known_key_of_any_kind_is_negotiated(sshd: Sshd, state: Path, kind: str) -> None:
    assert attempt(sshd, sshd.known_hosts(kind), state) is None


def test_a_hashed_entry_is_known(sshd: Sshd, state: Path, tmp_path: Path) -> None:
    known = tmp_path / "hashed"
    known.write_text(sshd.known_hosts().read_text())
    subprocess.run(["ssh-keygen", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    assert attempt(sshd, known, state) is None


def test_an_unknown_key_is_refused_where_nobody_can_be_asked(sshd: Sshd, state: Path, tmp_path: Path) -> None:
    known = tmp_path / "none"
    error = attempt(sshd, known, state)
    assert error is not None and error.exit_code is ExitCode.UNREACHABLE and error.info.code == "host-key-unknown"
    assert shown(sshd.host_key) in error.info.why and f"ssh-keyscan -p {sshd.port}" in error.info.next
    assert not known.exists()


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_decides_about_an_unknown_key(sshd: Sshd, state: Path, tmp_path: Path, answer: bool) -> None:
    asked: list[tuple[str, str, str]] = []

    def confirm(host: str, kind: str, print_: str) -> bool:
        asked.append((host, kind, print_))
        return answer

    known = tmp_path / "ssh" / "known_hosts"
    error = attempt(sshd, known, state, Answers(confirm))
    assert asked == [(f"[127.0.0.1]:{sshd.port}", "ssh-ed25519", shown(sshd.host_key))]
    assert (error is None) is answer and known.exists() is answer
    if answer:
        assert known.stat().st_mode & 0o777 == 0o600
        assert attempt(sshd, known, state) is None
        found = subprocess.run(
            ["ssh-keygen", "-F", f"[127.0.0.1]:{sshd.port}", "-f", str(known)], capture_output=True, check=False
        )
        assert found.returncode == 0


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_changed_key_is_refused_and_nobody_is_asked(sshd: Sshd, state: Path, tmp_path: Path, kind: str) -> None:
    other = keygen(tmp_path / "other", kind=kind)
    words = other.with_suffix(".pub").read_text().split()
    known = tmp_path / "known"
    known.write_text(f"# first\n[127.0.0.1]:{sshd.port} {words[0]} {words[1]}\n")
    error = attempt(sshd, known, state, Answers(lambda *_: True))
    assert error is not None and error.info.code == "host-key-changed"
    assert shown(other) in error.info.why and shown(sshd.host_key) in error.info.why
    assert error.info.path == str(known) and error.info.line == 2
    assert error.info.next.startswith(f"ssh-keygen -f {known} -R '[127.0.0.1]:{sshd.port}'")


def test_a_revoked_key_is_refused_even_when_it_is_known_too(sshd: Sshd, state: Path, tmp_path: Path) -> None:
    line = sshd.known_hosts().read_text()
    known = tmp_path / "known"
    known.write_text(f"{line}@revoked * {' '.join(line.split()[1:])}\n")
    error = attempt(sshd, known, state)
    assert error is not None and error.info.code == "host-key-revoked" and error.info.line == 2


def test_a_certificate_authority_is_named_as_unsupported(sshd: Sshd, state: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"@cert-authority * {' '.join(sshd.known_hosts().read_text().split()[1:])}\n")
    error = attempt(sshd, known, state)
    assert error is not None and error.info.code == "host-key-unknown" and "@cert-authority" in error.info.why


def test_the_name_of_a_key_alias_is_looked_up(
    make_sshd: Callable[..., Sshd], state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_sshd()
    known = tmp_path / "known"
    known.write_text(server.known_hosts().read_text().replace(f"[127.0.0.1]:{server.port}", "agents"))
    config = tmp_path / "config"
    config.write_text("Host 127.0.0.1\n  HostKeyAlias agents\n")
    monkeypatch.setenv("OPSCTL_SSH_CONFIG", str(config))
    assert attempt(server, known, state) is None


KEY = base64.b64encode(b"key").decode()


@pytest.mark.parametrize(
    ("patterns", "name", "speaks"),
    [
        ("example.org", "example.org", True),
        ("example.org,10.0.0.1", "10.0.0.1", True),
        ("EXAMPLE.org", "example.ORG", True),
        ("*.example.org", "a.example.org", True),
        ("*.example.org,!b.example.org", "b.example.org", False),
        ("!b.example.org,*.example.org", "b.example.org", False),
        ("[example.org]:2222", "[example.org]:2222", True),
        ("[example.org]:*", "[example.org]:2222", True),
        ("example.org", "[example.org]:2222", False),
        ("e?ample.org", "example.org", True),
        ("|1|broken", "example.org", False),
    ],
)
def test_patterns(tmp_path: Path, patterns: str, name: str, speaks: bool) -> None:
    known = tmp_path / "known"
    known.write_text(f"\n#c\nnonsense\n{patterns} ssh-ed25519 {KEY} comment\n{patterns} ssh-rsa ###\n")
    found = on_record(name, [str(tmp_path / "not there"), str(known)])
    assert [(entry.line, entry.blob) for entry in found] == ([(4, b"key")] if speaks else [])


def test_fingerprints_look_like_openssh(sshd: Sshd) -> None:
    blob = base64.b64decode(sshd.host_key.with_suffix(".pub").read_text().split()[1])
    assert fingerprint(blob) == shown(sshd.host_key)
