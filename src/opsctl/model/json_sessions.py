"""A JSON file that holds sessions by their ids: taken apart and put together without touching a byte of a session."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from opsctl.model.migrate import digest

_SPACE = re.compile(r"[ \t\n\r]*")


def session_digest(text: bytes) -> bytes:
    """The digest of one session's JSON, byte for byte."""
    return digest(b"json", text)


def sessions(text: str) -> dict[str, str]:
    """Each value of the object that is in `text`, as it is written there. Raises ValueError with what is wrong."""
    found: dict[str, str] = {}
    try:
        for name, value in _members(text):
            if name in found:
                raise ValueError(f"{name!r} is in it twice")
            found[name] = value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return found


def together(found: Mapping[str, str]) -> str:
    """The text of a file with these sessions, in their order."""
    members = ",\n".join(f"{json.dumps(name, ensure_ascii=False)}: {text}" for name, text in found.items())
    return f"{{\n{members}\n}}\n" if members else "{}\n"


def parsed(text: str) -> object:
    """The value of a JSON text. Raises ValueError; NaN and its like are no JSON."""
    try:
        value: object = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Walk one object; json's own decoder says where each value ends."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    place = _expect(text, _past_space(text, 0), "{")
    place = _past_space(text, place)
    if text[place : place + 1] == "}":
        return _ended(text, place + 1)
    while True:
        name, place = decoder.raw_decode(text, place)
        if not isinstance(name, str):
            raise ValueError(f"a name is expected at character {place}")
        if any("\ud800" <= sign <= "\udfff" for sign in name):
            raise ValueError(f"the name before character {place} is half a character")
        place = _past_space(text, _expect(text, _past_space(text, place), ":"))
        _value, end = decoder.raw_decode(text, place)
        yield name, text[place:end]
        place = _past_space(text, end)
        if text[place : place + 1] == "}":
            return _ended(text, place + 1)
        place = _past_space(text, _expect(text, place, ","))


def _past_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _expect(text: str, place: int, sign: str) -> int:
    if text[place : place + 1] != sign:
        raise ValueError(f"{sign} is expected at character {place}")
    return place + 1


def _ended(text: str, place: int) -> None:
    if text[place:].strip(" \t\n\r"):
        raise ValueError(f"nothing more is expected at character {place}")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
