"""Frozen results as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from opsctl.model.secret import Secret


def to_jsonable(value: object) -> Any:
    """Dataclasses become objects, enums their values, sets sorted lists; a Secret is shown masked.

    Raises TypeError for anything else that JSON has no word for.
    """
    if value is None or isinstance(value, bool | int | float):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_jsonable(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(to_jsonable(item) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [to_jsonable(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form")
