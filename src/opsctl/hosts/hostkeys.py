"""known_hosts files: whose key is on record, and writing one down."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["known", "unknown", "changed", "revoked"]


@dataclass(frozen=True)
class Recorded:
    """One line that speaks of a host."""

    marker: str  # "", "@revoked" or "@cert-authority"
    kind: str
    blob: bytes
    path: str
    line: int


def on_record(name: str, files: Iterable[str]) -> list[Recorded]:
    """The lines about `name` (`host` or `[host]:port`), in the files' order; what cannot be read is skipped."""
    return [entry for path in files for entry in _in_file(name, path)]


def judge(key: bytes, kind: str, records: list[Recorded]) -> tuple[Verdict, Recorded | None]:
    """What the records say of a key that a host has shown, and the line that says it."""
    for entry in records:
        if entry.marker == "@revoked" and entry.blob == key:
            return "revoked", entry
    plain = [entry for entry in records if not entry.marker]
    for entry in plain:
        if entry.blob == key:
            return "known", entry
    # A key of another kind than the one on record is no news to shrug at: whoever sits between us and the host
    # would offer exactly that.
    same = [entry for entry in plain if entry.kind == kind]
    return ("changed", (same or plain)[0]) if plain else ("unknown", None)


def fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` shows it."""
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def write_down(name: str, kind: str, key: bytes, path: str, *, hashed: bool) -> None:
    """Append a key to a known_hosts file, which is made for its owner only if it isn't there."""
    target = Path(path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{_hash(name) if hashed else name} {kind} {base64.b64encode(key).decode()}\n"
    handle = os.open(target, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            line = line if file.read(1) == b"\n" else "\n" + line
        file.write(line.encode())


def _in_file(name: str, path: str) -> Iterator[Recorded]:
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or not _speaks_of(name, words[0]):
            continue
        try:
            yield Recorded(marker, words[1], base64.b64decode(words[2], validate=True), path, number)
        except binascii.Error:
            continue


def _speaks_of(name: str, patterns: str) -> bool:
    if patterns.startswith("|1|"):
        return hmac.compare_digest(patterns.encode(), _hash(name, patterns).encode())
    said = False
    for pattern in patterns.split(","):
        if pattern.startswith("!"):
            if _matches(name, pattern[1:]):
                return False
        elif _matches(name, pattern):
            said = True
    return said


def _matches(name: str, pattern: str) -> bool:
    # Brackets are part of `[host]:port`, not a set of characters.
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))


def _hash(name: str, like: str | None = None) -> str:
    try:
        salt = base64.b64decode(like.split("|")[2]) if like else secrets.token_bytes(20)
    except (IndexError, binascii.Error):
        return ""
    digest = hmac.new(salt, name.lower().encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
