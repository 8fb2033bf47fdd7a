"""The kinds of value a stack file holds: sizes, durations, words, lists that may be written as one item."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from opsctl.model.units import parse_duration, parse_size

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _or_variable(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, _VARIABLE]})


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is not a size; write it like 270MB, 256MiB or 2g")
    size = parse_size(value)
    if 0 < size < 100_000:
        raise ValueError(f"{value!r} would be {size} bytes; write it like 270MB, 256MiB or 2g")
    if size < 0:
        raise ValueError(f"{value!r} is less than nothing; write it like 270MB")
    return size


def _duration(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a duration; write it like 30s, 500ms or 1m30s")
    text = str(value).strip()
    seconds = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else parse_duration(value)
    if not 0 < seconds <= 86_400:
        raise ValueError(f"{value!r} is not between 0 and a day; write it like 30s or 1m30s")
    return seconds


def _whole(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a whole number")
    return value


def one_or_more(value: object) -> object:
    """A single item as a list of one."""
    return [value] if isinstance(value, str) else value


def _shell_or_argv(value: object) -> object:
    return ["/bin/sh", "-c", value] if isinstance(value, str) else value


def _words(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{value!r} cannot be split into words: {error}") from None
    return words[1:] if words[:1] == ["opsctl"] else words


def _path_on_droplet(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} is not a path from the droplet's root, like /opt/stack/docker-compose.yml")
    return value


def _address(value: str) -> str:
    # A leading dash would be read as an option by ssh.
    if re.fullmatch(r"(?!-)[^\s/@]+(@(?!-)[^\s/@]+)?", value) is None:
        raise ValueError(f"{value!r} is not an address; write user@host, user@host:port, or local")
    return value


def _http(value: str) -> str:
    if re.fullmatch(r"(:\d{1,5})?/\S*|:\d{1,5}", value) is None:
        raise ValueError(f'{value!r} is not what to ask for; write ":8000/health", or "/health" for the first port')
    return value


Whole = BeforeValidator(_whole)
Phase = Annotated[int, Whole, Field(ge=1, le=99), _or_variable({"type": "integer", "minimum": 1, "maximum": 99})]
Port = Annotated[int, Whole, Field(ge=1, le=65535), _or_variable({"type": "integer", "minimum": 1, "maximum": 65535})]
FixedPort = Annotated[int, Whole, Field(ge=1, le=65535)]  # where no variable is resolved
Status = Annotated[int, Whole, Field(ge=100, le=599), _or_variable({"type": "integer", "minimum": 100, "maximum": 599})]
Switch = Annotated[bool, _or_variable({"type": "boolean"})]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["270MB"]})]
Seconds = Annotated[
    float, BeforeValidator(_duration), WithJsonSchema({"type": ["string", "number"], "examples": ["30s", "1m30s"]})
]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], BeforeValidator(one_or_more), WithJsonSchema(_ONE_OR_MORE)]
Argv = Annotated[list[str], BeforeValidator(_shell_or_argv), Field(min_length=1), WithJsonSchema(_ONE_OR_MORE)]
Words = Annotated[list[Text], BeforeValidator(_words), Field(min_length=1), WithJsonSchema(_ONE_OR_MORE)]
Address = Annotated[str, AfterValidator(_address)]
Http = Annotated[str, AfterValidator(_http)]
DropletPath = Annotated[str, AfterValidator(_path_on_droplet)]
DropletPaths = Annotated[list[DropletPath], BeforeValidator(one_or_more), WithJsonSchema(_ONE_OR_MORE)]
