"""Exports encrypted line by line: AES-256-GCM under a key of each opening of the file, made from the store's own key.

A line stands alone: one that a kill tore is cut off as ever, and what comes later needs nothing of it. A salt is drawn
for each process, so that no nonce, which counts its lines, comes twice under one key. Whole lines are encrypted: names
of keys are patients' numbers, too.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

from opsctl.model.errors import ConfigError
from opsctl.model.migrate_run import SEALED
from opsctl.model.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SIZE = 32  # bytes of the key
_INFO = b"opsctl migrate export 1"
_MAKE = "openssl rand -base64 32"


class ExportCipher:
    """Seals and opens lines; from several threads at once. Raises ConfigError for a key that is none."""

    def __init__(self, key: Secret, store: str) -> None:
        self._store = store
        self._key = _decoded(key, store)
        self._salt = os.urandom(16)
        self._numbers = count()
        self._of = lru_cache(maxsize=64)(self._derived)

    def seal(self, line: bytes) -> bytes:
        """The line, for nobody without the key."""
        number = next(self._numbers)
        salt = base64.b64encode(self._salt)
        data = base64.b64encode(self._of(self._salt).encrypt(number.to_bytes(12, "big"), line, SEALED))
        return b'%s"%s","line":%d,"data":"%s"}' % (SEALED, salt, number, data)

    def open(self, line: bytes) -> bytes:
        """What was sealed. Raises ConfigError where another key did it, or somebody changed it."""
        from cryptography.exceptions import InvalidTag

        try:
            found = json.loads(line)
            salt, data = (base64.b64decode(found[name], validate=True) for name in ("sealed", "data"))
            return self._of(salt).decrypt(int(found["line"]).to_bytes(12, "big"), data, SEALED)
        except (InvalidTag, ValueError, KeyError, TypeError, OverflowError):
            raise ConfigError(
                f"the export cannot be opened with the export_key of stores.{self._store}",
                why="another key encrypted it, or a line was changed since",
                next=f"put the key of that time back: stores.{self._store}.export_key",
                code="export-key",
            ) from None

    def _derived(self, salt: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return AESGCM(HKDF(algorithm=SHA256(), length=_SIZE, salt=salt, info=_INFO).derive(self._key))


def _decoded(key: Secret, store: str) -> bytes:
    try:
        found = base64.b64decode(key.reveal().strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) == _SIZE:
        return found
    raise ConfigError(
        f"stores.{store}.export_key is no key",
        why=f"expected {_SIZE} random bytes in base64; a password is too easily guessed",
        next=f"{_MAKE}   (keep it where the stack file can ask for it: ${{cmd:pass show …}})",
        code="export-key",
    )
