"""From a record to named fields, and from a field to a value of a property's type. Pure."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from opsctl.jobs.memory_dates import moment
from opsctl.model.migrate import Record
from opsctl.model.vector_object import EXACT, Value, utc_text

# What programs call these things; the first that an item has is taken, the collection's own name before all others.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "text": ("content", "message", "memory", "page_content", "body", "summary", "value"),
    "threadId": ("thread_id", "thread", "conversation_id", "conversationId", "session_id", "sessionId"),
    "speaker": ("role", "author", "sender", "user", "from"),
    "domain": ("topic", "category", "namespace"),
    "timestamp": ("ts", "created_at", "createdAt", "created", "datetime", "time", "date"),
    "owner": ("user_id", "userId", "user"),
    "tenantId": ("tenant_id", "tenant"),
    "unitNumber": ("unit_number", "unit"),
    "trialId": ("trial_id", "trial"),
    "patientId": ("patient_id", "patient"),
}
VECTOR = ("embedding", "vector", "embeddings", "text_vector", "content_vector")


class Unfit(ValueError):
    """A record or a field that cannot be taken. `code` is short and constant."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


def fields_of(record: Record) -> dict[str, Any]:
    """The fields of a string that holds a JSON object, or of a hash. Raises Unfit."""
    if record.fault:
        raise Unfit(record.fault, record.fault_code)
    if record.kind == "hash":
        return {_name(key): _text_or_bytes(value) for key, value in record.value.items()}
    if record.kind != "string":
        raise Unfit(f"a {record.kind or 'thing'}; memory items are strings holding JSON, and hashes", "wrong-type")
    try:
        found = _parsed(record.value)
    except RecursionError:
        raise Unfit("JSON that is nested too deeply", "unparsable") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Unfit(f"not JSON: {_short(error)}", "unparsable") from None
    if not isinstance(found, dict):
        raise Unfit(f"JSON, but {_kind(found)} and not an object", "unparsable")
    return found


def _parsed(text: str | bytes) -> Any:
    """JSON as Python's own parser reads it. Raises ValueError, RecursionError."""
    try:
        # A quarter of the time where there is a vector in it. It is stricter (half a surrogate pair, UTF-16, depth):
        # what it does not take, the other decides on, and says why.
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return json.loads(text, parse_constant=_no_constant)


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _short(error: Exception) -> str:
    return str(error)[:120]


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _name(key: bytes | str) -> str:
    return key if isinstance(key, str) else key.decode(errors="backslashreplace")


def _text_or_bytes(value: bytes | str) -> str | bytes:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def convert(value: Any, kind: str) -> tuple[Value, bool] | None:
    """A field's value as a property of a type, and whether nothing is lost by that; None where it is no such thing.

    Raises Unfit for a date that is none: an item must not land in another day without a word.
    """
    if kind == "text":
        return _text(value)
    if kind == "date":
        return _date(value)
    if kind.endswith("[]"):
        return _list(value, kind[:-2])
    if kind == "boolean":
        return (value, True) if isinstance(value, bool) else _said(value)
    if kind in ("int", "number"):
        return _number(value, whole=kind == "int")
    if kind == "uuid" and isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value):
        return value, True
    return None


def _text(value: Any) -> tuple[Value, bool] | None:
    if isinstance(value, str):
        return value, True
    if isinstance(value, list):  # what chat APIs call content blocks
        parts = [each.get("text") if isinstance(each, dict) else each for each in value]
        texts = [each for each in parts if isinstance(each, str)]
        return ("\n".join(texts), False) if texts else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value), False


def _date(value: Any) -> tuple[Value, bool]:
    try:
        written = utc_text(moment(value))
    except ValueError as error:
        raise Unfit(str(error), "date") from None
    return written, written == value


def _said(value: Any) -> tuple[Value, bool] | None:
    word = value.lower() if isinstance(value, str) else ""
    return (word == "true", False) if word in ("true", "false") else None


def _number(value: Any, *, whole: bool) -> tuple[Value, bool] | None:
    if isinstance(value, bool):
        return None
    exact = isinstance(value, int | float)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,16}", value):
        value = int(value)
    elif isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,30}\.\d{1,30}", value):
        value = float(value)
    if isinstance(value, int) and abs(value) <= EXACT:
        return (value if whole else float(value)), exact
    if isinstance(value, float):
        return None if whole else (value, exact)
    return None


def _list(value: Any, kind: str) -> tuple[Value, bool] | None:
    if isinstance(value, str):
        try:
            inner = json.loads(value) if value.startswith("[") else [value]
        except (ValueError, RecursionError):
            inner = [value]
        found = _list(inner, kind) if isinstance(inner, list) else None
        return (found[0], False) if found else None
    if not isinstance(value, list):
        return None
    made = [convert(each, kind) for each in value]
    kept = [each for each in made if each is not None]
    if len(kept) != len(made):
        return None
    return [each[0] for each in kept], all(each[1] for each in kept)  # type: ignore[return-value]


def float32(value: Any) -> bytes:
    """A vector as it is stored: little-endian float32. Takes a list of numbers, its JSON, or the bytes themselves.

    Raises Unfit.
    """
    if isinstance(value, bytes):
        if not value or len(value) % 4 or not math.isfinite(sum(memoryview(value).cast("f"))):
            raise Unfit(f"{len(value)} bytes are no float32 vector", "vector")
        return value
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = _parsed(value)
        except (ValueError, RecursionError) as error:
            raise Unfit(f"the vector is no JSON: {_short(error)}", "vector") from None
    elif isinstance(value, str):
        return float32(value.encode())  # bytes that happen to be text
    if not isinstance(value, list) or not value:
        raise Unfit("the vector is no list of numbers", "vector")
    try:
        return struct.pack(f"<{len(value)}f", *value)
    except (struct.error, OverflowError) as error:
        odd = [each for each in value if not isinstance(each, int | float)]
        why = f"it holds {_kind(odd[0])}" if odd else _short(error)
        raise Unfit(f"the vector is no list of float32 numbers: {why}", "vector") from None


def leftover(fields: Mapping[str, Any]) -> str:
    """What has no property of its own, as JSON; bytes as {"$base64": …}."""
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=_base64)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair travels only escaped
        return json.dumps(fields, separators=(",", ":"), default=_base64)
    return text


def _base64(value: Any) -> Any:
    return {"$base64": base64.b64encode(value).decode()}


def names_for(prop: str, given: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The fields that a property is looked for in, in order."""
    return tuple(given[prop]) if prop in given else (prop, *ALIASES.get(prop, ()))
