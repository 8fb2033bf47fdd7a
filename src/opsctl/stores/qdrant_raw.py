"""Points as the text in which a server gave them: sent on and compared as they are, without a number read twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import from_json

_BETWEEN = b'},{"id":'
_SENDABLE = {"id", "payload", "vector"}


def texts_of(content: bytes, number: int) -> list[bytes] | None:
    """The JSON texts of the `number` points in an answer, in its order; None where they cannot be told apart.

    Every point begins with its id, so there are at least as many cuts as points; as many means that none is inside.
    """
    begin, end = content.find(b'[{"id":'), content.rfind(b"}]")
    if number < 1 or begin < 0 or end < begin:
        return None
    begin, end, texts = begin + 1, end + 1, list[bytes]()
    # Cut out one after the other: splitting takes the braces away, and putting them back copies all of it again.
    while (cut := content.find(_BETWEEN, begin, end)) >= 0:
        texts.append(content[begin : cut + 1])
        begin = cut + 2
    texts.append(content[begin:end])
    return texts if len(texts) == number else None


def with_texts(content: bytes, points: Sequence[dict[str, Any]]) -> None:
    """Put its own text beside each point that can be sent on as it stands."""
    texts = texts_of(content, len(points))
    # The first and the last are where an answer of another shape would show.
    if texts is None or any(from_json(texts[at]) != points[at] for at in (0, -1)):
        return
    for point, text in zip(points, texts, strict=True):
        if point.keys() == _SENDABLE and point["vector"] is not None:
            point["text"] = text


def joined(texts: Iterable[bytes]) -> bytes:
    """Points as a JSON array, as requests have it."""
    return b"[" + b",".join(texts) + b"]"


def same_texts(content: bytes, wanted: Sequence[bytes]) -> bool:
    """Whether the points of an answer are these, byte for byte, each once, in whichever order."""
    array, begin = joined(wanted), content.find(b'[{"id":')
    # A server answers in the order of the ids it was asked for.
    if begin >= 0 and content.startswith(array, begin) and content.rfind(b"}]") == begin + len(array) - 2:
        return True
    texts = texts_of(content, len(wanted))
    return texts is not None and sorted(texts) == sorted(wanted)
