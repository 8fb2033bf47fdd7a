"""YAML to plain values, with the line of every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from opsctl.model.secret import Redactor
from opsctl.model.stackfile_problem import Path, Problem, config_error

_MAX_VALUES = 20_000  # aliases of aliases grow without bound; a stack file has a few hundred values


@dataclass
class Document:
    """A YAML file as plain values; `lines` maps each path to the line its key stands on, counted from 1."""

    file: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def problem(self, path: Path, what: str, *, expected: str = "", nearest: str = "") -> None:
        """Note something wrong at a path."""
        self.problems.append(Problem(self.file, path, self.line(path), what, expected, nearest))


def read_yaml(text: str, file: str) -> Document:
    """Parse one YAML document.

    Raises ConfigError with line, column and the line's text where it is not YAML at all; what is merely not
    allowed (a key given twice, a foreign tag) is noted in `problems`.
    """
    document = Document(file)
    try:
        # Nodes carry their lines; building the round-trip tree on top of them would cost time and memory for nothing.
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise _syntax_error(file, text, error) from None
    except RecursionError:
        raise config_error([Problem(file, (), 0, "nested too deeply to be read")]) from None
    except YAMLError as error:
        reason = str(error).splitlines()[0]
        raise config_error([Problem(file, (), 0, f"not YAML: {reason}", "UTF-8 text")]) from None
    if root is not None:
        document.data = _Reader(document).value(root, ())
    return document


def _syntax_error(file: str, text: str, error: Any) -> Exception:
    mark = error.problem_mark or error.context_mark
    reason = error.problem or error.context or "it cannot be read"
    if mark is None:
        return config_error([Problem(file, (), 0, f"not YAML: {reason}")])
    lines = text.splitlines()
    shown = Redactor()(lines[mark.line].strip()) if mark.line < len(lines) else ""
    if "'\\t'" in reason:
        reason = "a tab where YAML wants spaces"
    if "another document" in reason:
        reason = "a second document begins"
    at = f'at "{shown}"' if shown else "at the end of the file"
    return config_error([Problem(file, (), mark.line + 1, f"not YAML: {reason} (column {mark.column + 1}, {at})")])


class _Reader:
    """Turns nodes into values; keeps count, and the way it came."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._open: list[Node] = []

    def value(self, node: Node, path: Path) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        self._count += 1
        if any(node is above for above in self._open):
            self._document.problem(path, "an alias that contains itself")
            return None
        if self._count > _MAX_VALUES:
            raise config_error(
                [Problem(self._document.file, path, self._document.line(path), f"more than {_MAX_VALUES} values")]
            )
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.append(node)
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, path) if isinstance(node, MappingNode) else None
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag.endswith(":merge"):
                merged = {**self._merge(value_node, path), **merged}
                continue
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else "?"
            line = key_node.start_mark.line + 1
            at = (*path, key)
            if key in result:
                first = self._document.lines[at]
                what = f"given twice (first on line {first})"
                self._document.problems.append(Problem(self._document.file, at, line, what, "each key once"))
                continue
            self._document.lines[at] = line
            result[key] = self.value(value_node, at)
        return {**merged, **result}

    def _merge(self, node: Node, path: Path) -> dict[str, Any]:
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        result: dict[str, Any] = {}
        for each in nodes:
            value = self.value(each, (*path, "<<"))
            if isinstance(value, dict):
                result = {**value, **result}
                self._lines_of_merge(value, path)
            else:
                self._document.problem(path, "<< wants a mapping", expected="an alias like *common")
        return result

    def _lines_of_merge(self, value: Mapping[str, Any], path: Path) -> None:
        lines = self._document.lines
        start = (*path, "<<")
        inside = [(at, line) for at, line in lines.items() if at[: len(start)] == start]
        for at, line in inside:
            del lines[at]
            if len(at) > len(start):
                lines.setdefault((*path, *at[len(start) :]), line)

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        tag = str(node.tag)
        text = str(node.value)
        if not tag.startswith("tag:yaml.org,2002:"):
            self._document.problem(path, f"the tag {tag} is not known here", expected="a plain value")
            return None
        kind = tag.rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        return _number(text, kind) if kind in ("int", "float") else text


def _number(text: str, kind: str) -> int | float | str:
    plain = text.replace("_", "")
    try:
        if kind == "int":
            return int(plain, 0) if plain.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(plain)
        return float(plain)
    except ValueError:
        return text  # .inf and other rarities: the schema says what it wanted instead
