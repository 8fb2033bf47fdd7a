"""Points as the text in which a server gave them: sent on and compared as they are, without a number read twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    parts = content[begin + 1 : end + 1].split(_BETWEEN)
    if len(parts) != number:
        return None
    first, last = parts[0], parts[-1]
    if number == 1:
        return [first]
    middle = [b'{"id":' + each + b"}" for each in parts[1:-1]]
    return [first + b"}", *middle, b'{"id":' + last]


def with_texts(content: bytes, points: Sequence[dict[str, Any]]) -> None:
    """Put its own text beside each point that can be sent on as it stands."""
    texts = texts_of(content, len(points))
    # The first and the last are where an answer of another shape would show.
    if texts is None or any(from_json(texts[at]) != points[at] for at in (0, -1)):
        return
    for point, text in zip(points, texts, strict=True):
        if point.keys() == _SENDABLE and point["vector"] is not None:
            point["text"] = text


def same_texts(content: bytes, wanted: Mapping[bytes, str]) -> list[str] | None:
    """The ids of the points of an answer if each is, byte for byte, one of those wanted; None otherwise."""
    texts = texts_of(content, len(wanted))
    if texts is None:
        return None
    found = [wanted.get(each) for each in texts]
    return None if None in found else [each for each in found if each is not None]
