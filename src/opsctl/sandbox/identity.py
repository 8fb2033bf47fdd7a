"""Keys of a sandbox: who may log in, and how its droplets prove who they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class KeyPair(NamedTuple):
    """An ed25519 pair: OpenSSH's private format, and the public line without a comment."""

    private: str
    public: str


def new_key() -> KeyPair:
    """A fresh pair."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return KeyPair(private.decode(), public.decode())


def key_pair(path: Path) -> KeyPair:
    """The pair kept at `path` and `path`.pub, made at the first call."""
    public = path.with_name(f"{path.name}.pub")
    if not (path.is_file() and public.is_file()):
        pair = new_key()
        write_private(path, pair.private)
        public.write_text(pair.public + "\n")
    return KeyPair(path.read_text(), public.read_text().strip())


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.rename(path)
