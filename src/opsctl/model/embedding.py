"""What turns texts into vectors, as a migration and a search see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opsctl.model.cancel import Cancel


class Embedder(Protocol):
    """One model. `name` is what a receipt says of it, `width` how many numbers a vector has.

    Vectors of two models do not mix, nor those of two quantisations of one model: `describe` tells them apart.
    """

    name: str
    width: int

    def embed(self, texts: Sequence[str], cancel: Cancel) -> Sequence[bytes]:
        """One vector a text, in order: `width` little-endian float32 numbers. Raises Interrupted between batches."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """For the receipt: model, width, quantization, sha256 of the model's file, max_tokens, truncated (texts that
        were longer, and of which only the beginning counts)."""
        ...

    def close(self) -> None:
        """Free the model; safe to call twice."""
        ...


def label(described: Mapping[str, Any]) -> str:
    """A model in a word, the same for the same vectors: name, quantization and the beginning of its file's hash."""
    parts = (described.get("model"), described.get("quantization"), str(described.get("sha256", ""))[:12])
    return " ".join(str(each) for each in parts if each)
