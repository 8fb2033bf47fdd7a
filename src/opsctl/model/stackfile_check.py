"""Checks plain values against the stack file's shape, and says what is wrong in its words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from opsctl.model import stackfile_schema as schema
from opsctl.model.stackfile_problem import Path, Problem, nearest

M = TypeVar("M", bound=BaseModel)

Models = Mapping[tuple[str, ...], type[schema.Entry]]
"""Which model stands at which place; "*" is a name of the user's, or a position in a list."""
_MODELS: Models = {
    (): schema.StackFile,
    ("droplets", "*"): schema.DropletEntry,
    ("droplets", "*", "docker"): schema.DockerEntry,
    ("droplets", "*", "provider"): schema.ProviderEntry,
    ("services", "*"): schema.ServiceEntry,
    ("services", "*", "gate"): schema.GateEntry,
    ("services", "*", "then", "*"): schema.ThenEntry,
    ("redundant", "*"): schema.RedundantEntry,
    ("stores", "*"): schema.StoreEntry,
    ("probes", "*"): schema.ProbeEntry,
    ("alerts",): schema.AlertsEntry,
}
_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "names with what belongs to them",
    "model_type": "a mapping (key: value)",
    "string_too_short": "a text that isn't empty",
    "too_short": "at least one word",
}


def validate(
    model: type[M],
    data: object,
    *,
    file: str,
    prefix: Path = (),
    line: Callable[[Path], int],
    models: Models = _MODELS,
) -> tuple[M | None, list[Problem]]:
    """The model, or everything that is wrong with the data. `prefix` is where the data stands in the stack."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, [_problem(each, file, prefix, line, models) for each in error.errors(include_url=False)]


def keys_at(path: Path, models: Models = _MODELS) -> tuple[str, ...]:
    """The keys that may stand in the mapping at a path; empty where the names are the user's."""
    for shape, model in models.items():
        if len(shape) == len(path) and all(want in ("*", got) for want, got in zip(shape, path, strict=True)):
            return tuple(info.alias or name for name, info in model.model_fields.items())
    return ()


def _problem(error: Any, file: str, prefix: Path, line: Callable[[Path], int], models: Models) -> Problem:
    # pydantic puts [key] and names of types into the way to a value; a person looks for neither.
    path = (*prefix, *_user_path(error["loc"]))
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = keys_at(path[:-1], models)
        return Problem(file, path, line(path), "unknown key", _one_of(known), nearest(str(path[-1]), known))
    if kind == "missing":
        return Problem(file, path, line(path), "missing", _description(path, models))
    given = error.get("input")
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'|(\d+)", context.get("expected", ""))
        known = tuple(quoted or number for quoted, number in words)
        return Problem(
            file, path, line(path), f"{_shown(given)} is not known", _one_of(known), nearest(str(given), known)
        )
    if kind == "value_error":
        what, _, expected = str(context["error"]).partition("; ")
        return Problem(file, path, line(path), what, expected.removeprefix("write it like ").removeprefix("write "))
    if kind == "string_pattern_mismatch":
        return Problem(file, path, line(path), f"{_shown(given)} is not a name", "letters, digits, dots, dashes")
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"{context['ge']} or more" if "ge" in context else f"{context['le']} or less"
        return Problem(file, path, line(path), f"{_shown(given)} is out of range", bound)
    return Problem(file, path, line(path), f"{_shown(given)} is not allowed", _EXPECTED.get(kind, error["msg"]))


def _user_path(loc: tuple[str | int, ...]) -> Path:
    return tuple(part for part in loc if part not in ("[key]", "int", "constrained-str"))


def _one_of(words: tuple[str, ...]) -> str:
    return f"one of {', '.join(words)}" if len(words) > 1 else "".join(words)


def _description(path: Path, models: Models) -> str:
    for shape, model in models.items():
        above = path[:-1]
        if len(shape) == len(above) and all(want in ("*", got) for want, got in zip(shape, above, strict=True)):
            return (model.model_fields[str(path[-1])].description or "").rstrip(".")
    return ""


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)
