"""Checksums over all records of a migration, whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from opsctl.model.migrate import DIGEST_SIZE, digest

_DIGEST_LENGTH = DIGEST_SIZE.to_bytes(8, "big")


class Checksum:
    """An order-independent checksum of a set of (key, digest): a sum modulo 2^128 of each pair's own digest.

    A sum and no XOR, so that a pair counted twice shows.
    """

    def __init__(self, value: int = 0, count: int = 0) -> None:
        self.value = value
        self.count = count

    def add(self, key: bytes, content: bytes) -> None:
        """Count one pair in."""
        self.value = (self.value + int.from_bytes(digest(key, content), "big")) % (1 << (8 * DIGEST_SIZE))
        self.count += 1

    def add_all(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Count many pairs in, whose contents are digests: as `add` of each, without its calls."""
        blake, count, total = hashlib.blake2b, 0, 0
        for key, content in pairs:
            if len(content) != DIGEST_SIZE:
                self.add(key, content)
                continue
            joined = len(key).to_bytes(8, "big") + key + _DIGEST_LENGTH + content
            total += int.from_bytes(blake(joined, digest_size=DIGEST_SIZE).digest(), "big")
            count += 1
        self.value = (self.value + total) % (1 << (8 * DIGEST_SIZE))
        self.count += count

    def merge(self, other: Checksum) -> None:
        """Count another one's pairs in."""
        self.value = (self.value + other.value) % (1 << (8 * DIGEST_SIZE))
        self.count += other.count

    def hex(self) -> str:
        """32 hexadecimal digits."""
        return f"{self.value:0{2 * DIGEST_SIZE}x}"
