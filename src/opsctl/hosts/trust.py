"""Whether a host is the one it claims to be: known_hosts, and a person where one is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opsctl.hosts.hostkeys import Recorded, fingerprint, judge, write_down
from opsctl.hosts.ssh_config import Target
from opsctl.model.errors import UnreachableError

if TYPE_CHECKING:
    from paramiko import PKey, Transport

Confirm = Callable[[str, str, str], bool]


def prefer_recorded(transport: Transport, records: list[Recorded]) -> None:
    """Negotiate the kinds of key first that are on record, or a known host would show another and look changed."""
    options = transport.get_security_options()
    kinds = {entry.kind for entry in records if not entry.marker}
    if "ssh-rsa" in kinds:
        kinds |= {"rsa-sha2-512", "rsa-sha2-256"}
    options.key_types = sorted(options.key_types, key=lambda kind: kind not in kinds)


def check(key: PKey, target: Target, records: list[Recorded], confirm: Confirm | None) -> None:
    """Raises UnreachableError unless the key is on record, or a person accepts it (it is then written down)."""
    kind, blob = key.get_name(), key.asbytes()
    verdict, entry = judge(blob, kind, records)
    if verdict == "known":
        return
    if entry is not None:
        raise _revoked(target, blob, entry) if verdict == "revoked" else _changed(target, kind, blob, entry)
    if confirm is None or not confirm(target.known_as, kind, fingerprint(blob)):
        raise _unknown(target, kind, blob, records, asked=confirm is not None)
    write_down(target.known_as, kind, blob, target.known_hosts[0], hashed=target.hash_known_hosts)


def _unknown(target: Target, kind: str, blob: bytes, records: list[Recorded], *, asked: bool) -> UnreachableError:
    why = f"it shows {kind} {fingerprint(blob)}, and {' and '.join(target.known_hosts[:2])} has no key of it"
    if any(entry.marker == "@cert-authority" for entry in records):
        why += "; a @cert-authority line speaks of it, which opsctl does not support"
    if asked:
        why += "; it was not accepted"
    port = "" if target.port == 22 else f"-p {target.port} "
    return UnreachableError(
        f"the host key of {target.known_as} is not known",
        why=why,
        next=f"ssh-keyscan {port}{target.host} | ssh-keygen -lf -; ssh {port}{target.user}@{target.host}",
        code="host-key-unknown",
    )


def _changed(target: Target, kind: str, blob: bytes, entry: Recorded) -> UnreachableError:
    has = f"{entry.path} line {entry.line} has {entry.kind} {fingerprint(entry.blob)}"
    return UnreachableError(
        f"THE HOST KEY OF {target.known_as} HAS CHANGED: somebody may be listening in, or it was installed anew",
        why=f"it shows {kind} {fingerprint(blob)}; {has}",
        next=f"ssh-keygen -f {entry.path} -R '{target.known_as}'   # only if you know why",
        code="host-key-changed",
        path=entry.path,
        line=entry.line,
    )


def _revoked(target: Target, blob: bytes, entry: Recorded) -> UnreachableError:
    return UnreachableError(
        f"the host key of {target.known_as} is revoked",
        why=f"{fingerprint(blob)} is marked @revoked in {entry.path} line {entry.line}",
        next="ask whoever revoked it for the new key",
        code="host-key-revoked",
        path=entry.path,
        line=entry.line,
    )
