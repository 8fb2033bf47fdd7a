"""A type for secrets, and the redaction at the edge that catches what the type missed."""

from __future__ import annotations

import re
from typing import Final

_MASK: Final = "•••"
# The last @ before the path ends the password: people forget to escape the ones inside.
_URL_PASSWORD = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:)(?P<secret>[^\s/\"']+)(?=@)", re.IGNORECASE)
# Not "max_tokens: 512": language models' logs are full of it.
_ASSIGNMENT = re.compile(
    r"(?P<head>\b[A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|TOKEN(?!S)|API_?KEY|ACCESS_?KEY)[A-Z0-9_]*[\"']?\s*[=:]\s*)"
    r"(?:(?P<quote>[\"'])(?:(?!(?P=quote)).)*(?:(?P=quote)|$)|[^\s\"',;{}()\[\]]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(?P<head>\b(?:Authorization[\"']?\s*[=:]\s*[\"']?(?:[A-Za-z]+\s+)?|Bearer\s+(?=\S{16})))[^\s\"',;]+",
    re.IGNORECASE,
)
_WELL_KNOWN = re.compile(r"\b(?:sk-|gh[pousr]_|dop_v1_|xox[abp]-|AKIA)[A-Za-z0-9_-]{12,}")


class Secret:
    """A string that never shows itself: not in str, repr, format or JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The plain value; for the one place that hands it to a peer."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)


class Redactor:
    """Masks known secret values and whatever looks like a credential in text."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def learn(self, *values: Secret | str) -> None:
        """Remember values to mask; shorter than four characters would mask ordinary words."""
        for value in values:
            plain = value.reveal() if isinstance(value, Secret) else value
            if len(plain) >= 4:
                self._known.add(plain)

    def __call__(self, text: str) -> str:
        for plain in sorted(self._known, key=len, reverse=True):
            text = text.replace(plain, _MASK)
        text = _URL_PASSWORD.sub(rf"\g<head>{_MASK}", text)
        text = _ASSIGNMENT.sub(_assigned, text)
        text = _HEADER.sub(rf"\g<head>{_MASK}", text)
        return _WELL_KNOWN.sub(_MASK, text)


def _assigned(match: re.Match[str]) -> str:
    quote = match["quote"] or ""
    return f"{match['head']}{quote}{_MASK}{quote}"
