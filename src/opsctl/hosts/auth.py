"""Logging in with keys: the agent's, and those in files."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from opsctl.hosts.ssh_config import Target
from opsctl.model.cancel import Cancel
from opsctl.model.errors import UnreachableError
from opsctl.model.secret import Secret

if TYPE_CHECKING:
    from paramiko import PKey, Transport

AskPassphrase = Callable[[str], Secret | None]


@dataclass
class _Tried:
    """What was tried, for the message when nothing worked."""

    offered: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def log_in(transport: Transport, target: Target, cancel: Cancel, ask: AskPassphrase | None) -> None:
    """Try the keys in the order OpenSSH would. Raises UnreachableError with what was tried."""
    tried = _Tried()
    with _agent_keys(target.identity_agent) as in_agent:
        for label, key in _candidates(target, in_agent, tried, ask):
            tried.offered.append(label)
            if _accepted(transport, target.user, key, cancel):
                return
            if not transport.is_active():
                break
    raise _refused(target, tried, ended=not transport.is_active())


def _accepted(transport: Transport, user: str, key: PKey, cancel: Cancel) -> bool:
    done = Event()
    transport.auth_publickey(user, key, done)
    while not done.wait(0.1):
        cancel.check("the login")
        if not transport.is_active():
            return False
    return transport.is_authenticated()


def _candidates(
    target: Target, in_agent: dict[bytes, PKey], tried: _Tried, ask: AskPassphrase | None
) -> Iterator[tuple[str, PKey]]:
    named = {path: public_blob(path) for path in target.identity_files if Path(path).exists()}
    first = [(path, blob) for path, blob in named.items() if blob in in_agent]
    for path, blob in first:
        if blob is not None:
            yield f"{path} (agent)", in_agent[blob]
    if not target.identities_only:
        for blob, key in in_agent.items():
            if blob not in named.values():
                yield f"{getattr(key, 'comment', '') or key.get_name()} (agent)", key
    for path in named:
        if path not in dict(first):
            key_in_file = _load(path, tried, ask)
            if key_in_file is not None:
                yield path, key_in_file


@contextlib.contextmanager
def _agent_keys(path: str | None) -> Iterator[dict[bytes, PKey]]:
    from paramiko import SSHException
    from paramiko.agent import AgentSSH

    if path is None:
        yield {}
        return
    agent = AgentSSH()
    with socket.socket(socket.AF_UNIX) as link:
        keys: dict[bytes, PKey] = {}
        # An agent that is gone or ill leaves the key files.
        with contextlib.suppress(OSError, SSHException):
            link.settimeout(10.0)
            link.connect(path)
            agent._connect(link)  # type: ignore[attr-defined]  # the public class takes the environment's socket only
            keys = {key.blob: key for key in agent.get_keys()}
        yield keys


def _load(path: str, tried: _Tried, ask: AskPassphrase | None, passphrase: Secret | None = None) -> PKey | None:
    try:
        return _read_key(path, passphrase)
    except Exception as error:  # noqa: BLE001 - every backend has its own errors for a file it cannot use
        if passphrase is None and _is_locked(error):
            passphrase = ask(path) if ask else None
            if passphrase:
                return _load(path, tried, ask, passphrase)
            tried.locked.append(path)
        else:
            tried.unreadable.append(f"{path} ({error})")
        return None


def _read_key(path: str, passphrase: Secret | None) -> PKey:
    from paramiko import ECDSAKey, Ed25519Key, PKey, RSAKey

    if passphrase is None:
        return PKey.from_path(path)
    # `from_path` hands one passphrase to two libraries, of which one wants text and the other bytes.
    classes: list[type[PKey]] = [Ed25519Key, RSAKey, ECDSAKey]
    for number, kind in enumerate(classes):
        try:
            return kind.from_private_key_file(path, passphrase.reveal())
        except Exception:
            if number == len(classes) - 1:
                raise
    raise AssertionError


def _is_locked(error: Exception) -> bool:
    from paramiko import PasswordRequiredException

    return isinstance(error, PasswordRequiredException) or (
        isinstance(error, TypeError | ValueError) and "password" in str(error).lower()
    )


def public_blob(path: str) -> bytes | None:
    """The public part of a key file, without its passphrase; None where it cannot be told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return base64.b64decode(Path(f"{path}.pub").read_text().split()[1])
    with contextlib.suppress(OSError, ValueError, IndexError, struct.error):
        lines = Path(path).read_text().split("-----")
        if "OPENSSH" in lines[1]:
            return _public_part(base64.b64decode("".join(lines[2].split())))
    return None


def _public_part(data: bytes) -> bytes:
    """The key format has the public key in clear after cipher, derivation and its options."""
    at = len(b"openssh-key-v1\0")
    words: list[bytes] = []
    for number in range(4):
        if number == 3:
            at += 4  # how many keys there are
        (size,) = struct.unpack_from(">I", data, at)
        words.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return words[3]


def _refused(target: Target, tried: _Tried, *, ended: bool) -> UnreachableError:
    reasons = [f"tried {', '.join(tried.offered)}" if tried.offered else "there was no key to try"]
    if ended:
        reasons.append("then the host ended the connection")
    if tried.locked:
        reasons.append(f"{', '.join(tried.locked)} needs its passphrase")
    reasons += [f"cannot use {problem}" for problem in tried.unreadable]
    port = "" if target.port == 22 else f"-p {target.port} "
    if tried.locked:
        advice = f"ssh-add {tried.locked[0]}"
    elif not tried.offered:
        advice = f"ssh-keygen -t ed25519 && ssh-copy-id {port}{target.user}@{target.host}"
    else:
        advice = f"ssh-copy-id {port}{target.user}@{target.host}   # or name the right key in the stack file"
    return UnreachableError(
        f"{target.login} did not accept our login", why="; ".join(reasons), next=advice, code="auth-failed"
    )
