"""Values in a playbook: `${name}` put in, and each made into what it has to be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opsctl.model.playbook import Kind, Late, Parameter, Variable
from opsctl.model.stackfile_problem import Path, nearest
from opsctl.model.units import parse_duration, parse_size

_REFERENCE = re.compile(r"\$(?:\$|\{(?P<name>[^}]*)\})")
WANTED: Mapping[Kind, str] = {
    "text": "a text",
    "texts": "a list of texts",
    "whole": "a whole number",
    "size": "a size like 270MB",
    "duration": "a duration like 30s or 5m",
    "switch": "true or false",
    "service": "a service's name",
    "services": "a list of services",
    "droplet": "a droplet's name",
    "secret": "a text",
}
_SAMPLES: Mapping[Kind, Any] = {
    "text": "x",
    "texts": ("x",),
    "whole": 1,
    "size": 1_000_000,
    "duration": 1.0,
    "switch": True,
    "service": "x",
    "services": ("x",),
    "droplet": "",
    "secret": "x",
}
Told = Callable[[Path, str, str, str], None]
"""Takes a problem: where, what, what was expected, the nearest valid word."""


@dataclass(frozen=True)
class Hidden:
    """A secret by its name: the environment's variable is read when it is used."""

    env: str

    def __str__(self) -> str:
        """Only the name."""
        return f"${self.env}"


def sample(variable: Variable) -> Any:
    """A value of the right kind, for checking a playbook before anybody gave one."""
    if variable.kind == "secret":
        return Hidden(variable.env)
    if variable.default is not None:
        return variable.default
    return variable.choices[0] if variable.choices else _SAMPLES[variable.kind]


def put_in(value: Any, path: Path, values: Mapping[str, Any], tell: Told, *, late: bool = False) -> Any:
    """The value with its variables; one that is nothing but a variable keeps the variable's kind."""
    if isinstance(value, dict):
        return {key: put_in(item, (*path, key), values, tell, late=late) for key, item in value.items()}
    if isinstance(value, list):
        found = [put_in(item, (*path, index), values, tell, late=late) for index, item in enumerate(value)]
        # A list inside a list is a variable with several values.
        return [each for item in found for each in (item if isinstance(item, tuple) else (item,))]
    if not isinstance(value, str) or "$" not in value:
        return value
    whole = re.fullmatch(r"\$\{([^}]*)\}", value)
    if whole:
        return _value(whole[1].strip(), path, values, tell, late=late)
    return _REFERENCE.sub(lambda match: _part(match, path, values, tell), value)


def _part(match: re.Match[str], path: Path, values: Mapping[str, Any], tell: Told) -> str:
    if match["name"] is None:
        return "$"
    found = _value(match["name"].strip(), path, values, tell, late=False)
    if isinstance(found, Hidden):
        alone = f"${{{match['name']}}} alone"
        tell(path, f"the secret {match['name']} is part of a longer text", alone, "")
        return ""
    return ", ".join(map(str, found)) if isinstance(found, tuple) else str(found)


def _value(name: str, path: Path, values: Mapping[str, Any], tell: Told, *, late: bool) -> Any:
    if name in Late.KINDS:
        if late:
            return Late(name)
        tell(path, f"${{{name}}} is known only when a step is undone", "it inside `undo`", "")
        return ()
    if name not in values:
        tell(path, f"the variable {name} is not declared", _names(values), nearest(name, values))
        return None
    return values[name]


def _names(values: Mapping[str, Any]) -> str:
    return f"one of {', '.join(values)}" if values else "it under `vars`"


def typed(value: Any, parameter: Parameter) -> Any:
    """The value as what the parameter wants. Raises ValueError with what was expected."""
    found = value if isinstance(value, Late | Hidden) else _CONVERT[parameter.kind](value)
    if isinstance(found, Hidden) and parameter.kind != "secret":
        raise ValueError(f"a secret may not stand here; {WANTED[parameter.kind]} that may be shown")
    if isinstance(found, Late) and parameter.kind != Late.KINDS[found.name]:
        raise ValueError(f"{found} is {WANTED[Late.KINDS[found.name]]}; {WANTED[parameter.kind]}")
    if isinstance(found, Late):
        return found
    if parameter.choices and found not in parameter.choices:
        raise ValueError(f"{found!r} is not known; one of {', '.join(parameter.choices)}")
    if parameter.least is not None and isinstance(found, int | float) and found < parameter.least:
        raise ValueError(f"{found} is too small; {parameter.least} or more")
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{_shown(value)} is not a text; a text")
    return str(value)


def _word(value: Any) -> str:
    text = _text(value)
    if not text or text.startswith("-") or any(each.isspace() for each in text):
        raise ValueError(f"{text!r} is not a name; a name without spaces")
    return text


def _list(value: Any, one: Callable[[Any], str]) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(one(each.strip()) for each in value.split(",") if each.strip())
    if not isinstance(value, list | tuple):
        raise ValueError(f"{_shown(value)} is not a list; a list like [a, b]")
    return tuple(one(each) for each in value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(r"-?\d+", str(value)):
        raise ValueError(f"{_shown(value)} is not a whole number; a whole number")
    return int(value)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{_shown(value)} is not a size; a size like 270MB")
    size = parse_size(value)
    if size < 0:
        raise ValueError(f"{value!r} is less than nothing; a size like 270MB")
    return size


def _duration(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{_shown(value)} is not a duration; a duration like 30s")
    text = str(value)
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else parse_duration(text)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false", "yes", "no"):
        return str(value).lower() in ("true", "yes")
    raise ValueError(f"{_shown(value)} is neither true nor false; true or false")


def _secret(value: Any) -> Any:
    raise ValueError("a secret is not written into a playbook; ${NAME} of a variable of kind `secret`")


_CONVERT: Mapping[Kind, Callable[[Any], Any]] = {
    "text": _text,
    "texts": lambda value: _list(value, _text),
    "whole": _whole,
    "size": _size,
    "duration": _duration,
    "switch": _switch,
    "service": _word,
    "services": lambda value: _list(value, _word),
    "droplet": _word,
    "secret": _secret,
}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else repr(value)
