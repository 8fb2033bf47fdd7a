"""The text of an env file, edited line by line: what is not asked for stays as it is. Pure."""

from __future__ import annotations

import re

from opsctl.model.errors import UsageError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=^~-]*\Z")
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(?P<value>.*)")


def check_name(name: str) -> str:
    """The name itself. Raises UsageError, which never shows what stood after a `=`."""
    if "=" in name:
        left = name.partition("=")[0]
        shown = left if NAME.match(left) else "NAME"
        raise UsageError(
            f"{shown}=… among the arguments: everybody on this machine can read it there, and it stays in your history",
            why="opsctl takes values over stdin or at a prompt",
            next=f"opsctl env set {shown}   (it asks), or: opsctl env set {shown} < FILE",
            code="value-in-argv",
        )
    if not NAME.match(name):
        raise UsageError(
            f"{name!r} cannot be the name of a variable",
            why="letters, digits and _ make one, a digit not first",
            next="opsctl env set NAME",
        )
    return name


def names(text: str) -> tuple[str, ...]:
    """The variables of an env file, in its order."""
    return tuple(dict.fromkeys(match["name"] for _, match in _assignments(text.split("\n"))))


def quoted(value: str) -> str:
    """A value as compose reads it back, whatever it holds."""
    if _PLAIN.match(value):
        return value
    if "'" not in value and "\n" not in value and "\\" not in value:
        return f"'{value}'"
    inner = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n")
    return f'"{inner}"'


def value_of(text: str, name: str) -> str | None:
    """The value of a variable as compose reads it, references to others left as they are; None where it is not set."""
    lines = text.split("\n")
    spans = [(span, match) for span, match in _assignments(lines) if match["name"] == name]
    if not spans:
        return None
    (begin, end), match = spans[-1]
    value = "\n".join([match["value"], *lines[begin + 1 : end]]).rstrip()
    quote = value[:1]
    if quote == "'":
        return value[1:].partition("'")[0]
    if quote == '"':
        inner = re.match(r'"((?:\\.|[^"\\])*)', value, re.DOTALL)
        return re.sub(
            r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), inner[1] if inner else "", flags=re.DOTALL
        )
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()


def with_value(text: str, name: str, value: str) -> str:
    """The text with one variable set: in its old place, else at the end; double lines of it go."""
    lines = text.split("\n")
    spans = [span for span, match in _assignments(lines) if match["name"] == name]
    line = f"{name}={quoted(value)}"
    if not spans:
        body = text if not text or text.endswith("\n") else text + "\n"
        return f"{body}{line}\n"
    for begin, end in reversed(spans[:-1]):
        del lines[begin:end]
    begin, end = next(span for span, match in _assignments(lines) if match["name"] == name)
    lines[begin:end] = [line]
    return "\n".join(lines)


def without(text: str, name: str) -> str:
    """The text without a variable."""
    lines = text.split("\n")
    for begin, end in reversed([span for span, match in _assignments(lines) if match["name"] == name]):
        del lines[begin:end]
    return "\n".join(lines)


def _assignments(lines: list[str]) -> list[tuple[tuple[int, int], re.Match[str]]]:
    """Every assignment with the lines it takes: a quoted value may go over several."""
    found, number = [], 0
    while number < len(lines):
        begin, match = number, _LINE.match(lines[number])
        number += 1
        if match is None:
            continue
        quote = match["value"][:1]
        if quote in ("'", '"') and not _closed(match["value"][1:], quote):
            while number < len(lines):
                number += 1
                if _closed(lines[number - 1], quote):
                    break
        found.append(((begin, number), match))
    return found


def _closed(text: str, quote: str) -> bool:
    bare = re.sub(r"\\.", "", text) if quote == '"' else text
    return quote in bare
