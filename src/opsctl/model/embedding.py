"""What turns texts into vectors, as a migration and a search see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from opsctl.model.cancel import Cancel


class Embedder(Protocol):
    """One model. `name` is what a receipt says of it, `width` how many numbers a vector has."""

    name: str
    width: int

    def embed(self, texts: Sequence[str], cancel: Cancel) -> Sequence[bytes]:
        """One vector a text, in order: `width` little-endian float32 numbers. Raises Interrupted between batches."""
        ...

    def close(self) -> None:
        """Free the model; safe to call twice."""
        ...
