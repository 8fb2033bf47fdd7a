"""Routes in a Caddyfile: found, and left out. Pure, and of the text alone: comments and order stay as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from opsctl.model.proxy import Route

_BLOCKS = ("handle", "handle_path", "route")
_UPSTREAMS = ("reverse_proxy", "forward_auth", "php_fastcgi")
_HOST = re.compile(r"^(?:[a-z0-9]+://)?(?P<host>[A-Za-z0-9][A-Za-z0-9_.-]*)(?::\d+)?$")


def routes(text: str) -> tuple[Route, ...]:
    """Every route of every site, in the file's order."""
    return tuple(_routes(text.splitlines()))


def without(text: str, names: Collection[str]) -> tuple[str, tuple[Route, ...]]:
    """The text with no route that leads to one of these services, or is guarded by one; and what was left out.

    A route whose guard goes is left out too: without it, it would stand open.
    """
    lines = text.splitlines(keepends=True)
    gone = tuple(each for each in routes(text) if set(each.upstreams) & set(names))
    drop: set[int] = set()
    for each in gone:
        first = each.first - 1
        # What is said about a route goes with it, unless the next one may be meant too.
        while first > 0 and lines[first - 1].strip().startswith("#"):
            first -= 1
        drop.update(range(first, each.last))
    return "".join(line for number, line in enumerate(lines) if number not in drop), gone


def _routes(lines: list[str]) -> Iterator[Route]:
    depth, begun = 0, 0
    matcher, upstreams = "", [""]
    for number, line in enumerate(lines, 1):
        words = _words(line)
        if not words:
            continue
        if depth == 1:
            if words[0] in _BLOCKS and words[-1] == "{":
                begun, matcher, upstreams = number, " ".join(words[1:-1]) or "*", []
            elif words[0] in _UPSTREAMS:
                found, first = _hosts(words), words[1] if len(words) > 1 else ""
                whole = first if first.startswith(("/", "@", "*")) else "*"
                if words[-1] == "{":
                    begun, matcher, upstreams = number, whole, found
                else:
                    yield Route(whole, tuple(found), number, number)
        elif begun and words[0] in _UPSTREAMS:
            upstreams += _hosts(words)
        if words[-1] == "{":
            depth += 1
        elif words == ["}"]:
            depth -= 1
            if depth == 1 and begun:
                yield Route(matcher, tuple(dict.fromkeys(upstreams)), begun, number)
                begun = 0


def _words(line: str) -> list[str]:
    words = line.split()
    for index, word in enumerate(words):
        if word.startswith("#"):
            return words[:index]
    return words


def _hosts(words: list[str]) -> list[str]:
    return [match["host"] for word in words[1:] if (match := _HOST.match(word))]
