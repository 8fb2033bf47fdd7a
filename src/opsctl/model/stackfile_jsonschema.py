"""The stack file's JSON Schema for editors, made from the models that check it."""

from __future__ import annotations

from typing import Any

from opsctl.model.stackfile_schema import StackFile

_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """The schema as a JSON document: long and short forms, `x-…` keys, and `${VAR}` wherever it may stand."""
    made = StackFile.model_json_schema(by_alias=True)
    parts = {name.removesuffix("Entry").lower(): _tidy(part) for name, part in made.pop("$defs").items()}
    _short_forms(parts)
    document = _tidy(made)
    redundant = document["properties"]["redundant"]
    redundant["properties"] = {"since": {"type": "string", "description": "Since when, for all of them."}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "opsctl.yaml",
        **{key: value for key, value in document.items() if key != "title"},
        "$defs": dict(sorted(parts.items())),
    }


def _short_forms(parts: dict[str, Any]) -> None:
    parts["then"] = {"anyOf": [{"type": "string", "description": "The words of an opsctl command."}, parts["then"]]}
    parts["redundant"] = {"anyOf": [{"type": "string", "description": "What replaces it."}, parts["redundant"]]}
    steps = parts["service"]["properties"]["then"]
    one, many = {"$ref": "#/$defs/then"}, {"type": "array", "items": {"$ref": "#/$defs/then"}}
    parts["service"]["properties"]["then"] = {"anyOf": [one, many], "description": steps["description"]}
    parts["service"] = {"anyOf": [parts["service"], {"type": "null"}]}


def _tidy(value: Any) -> Any:
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    # Titles made from names and "or null" say nothing to a person who writes the file.
    kept = {key: _tidy(item) for key, item in value.items() if not (key == "title" and isinstance(item, str))}
    if kept.get("default", 0) is None:
        del kept["default"]
    if "enum" in kept and kept.get("type") == "string":
        given = {"enum": kept.pop("enum"), "type": kept.pop("type")}
        kept = {"anyOf": [given, _VARIABLE], **kept}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    options = [each for each in kept.get("anyOf", ()) if each != {"type": "null"}]
    if len(options) == 1:
        kept.pop("anyOf")
        kept = {**options[0], **kept}
    elif options:
        kept["anyOf"] = options
    if "$ref" in kept:
        kept["$ref"] = "#/$defs/" + kept["$ref"].rpartition("/")[2].removesuffix("Entry").lower()
    return kept
