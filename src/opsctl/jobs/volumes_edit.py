"""The volume entry of a compose file, written anew: nothing else in the user's file changes. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_QUOTES = "'\""


def with_source(text: str, services: Sequence[str], old: str, new: str) -> str | None:
    """The text where the mounts of `old` (a volume or a folder) in these services are of `new`.

    None where there is no such mount, or where one is written in a way that cannot be changed in place: by an alias,
    with a variable, or with options that only volumes have.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except YAMLError:
        return None
    edits: list[tuple[int, int, str]] = []
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for entry in _entries(root, services):
        found = _short(entry, old, new) if isinstance(entry, ScalarNode) else _long(entry, old, new)
        if found is None:
            return None
        for node, value in found:
            first, last = (starts[mark.line] + mark.column for mark in (node.start_mark, node.end_mark))
            raw = text[first:last]
            quote = raw[:1] if raw[:1] in _QUOTES else ""
            if raw != f"{quote}{node.value}{quote}":
                return None
            edits.append((first, last, f"{quote}{value}{quote}"))
    for first, last, value in sorted(set(edits), reverse=True):
        text = text[:first] + value + text[last:]
    return text if edits else None


def diff(path: str, before: str, after: str) -> tuple[str, ...]:
    """What changes in a file, as a unified diff with two lines around."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, n=2, lineterm="")
    return tuple(lines)


def _entries(root: Node | None, services: Sequence[str]) -> Iterator[Node]:
    for name, body in _items(_get(root, "services")):
        volumes = _get(body, "volumes")
        if name in services and isinstance(volumes, SequenceNode):
            yield from volumes.value


def _items(node: Node | None) -> Iterator[tuple[str, Node]]:
    if isinstance(node, MappingNode):
        yield from ((str(key.value), value) for key, value in node.value)


def _get(node: Node | None, key: str) -> Node | None:
    return next((value for name, value in _items(node) if name == key), None)


def _short(entry: ScalarNode, old: str, new: str) -> list[tuple[ScalarNode, str]] | None:
    source, colon, rest = str(entry.value).partition(":")
    if source.rstrip("/") != old or not colon:
        return []
    return [(entry, f"{new}:{rest}")]


def _long(entry: Node, old: str, new: str) -> list[tuple[ScalarNode, str]] | None:
    source, kind = _get(entry, "source"), _get(entry, "type")
    if not isinstance(source, ScalarNode) or str(source.value).rstrip("/") != old:
        return []
    if not isinstance(kind, ScalarNode) or _get(entry, "volume") is not None or _get(entry, "bind") is not None:
        return None
    return [(source, new), (kind, "bind" if new.startswith("/") else "volume")]
