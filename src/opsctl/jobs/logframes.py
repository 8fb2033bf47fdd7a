"""The engine's log format: frames with an eight-byte header, or plain lines where the container has a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}
_STAMP = re.compile(rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?")
_ESCAPE = re.compile(rb"\\([0-7]{3}|[abfnrtv\\])")
_PLAIN = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}


@dataclass(frozen=True)
class Entry:
    """One log line: the engine's stamp, stdout or stderr, the text without its line end."""

    time: str
    stream: str
    text: str


def unescape(line: str) -> bytes:
    """The bytes of one line that `sed -n 'l 0'` wrote unambiguously, its newline included."""
    raw = line.encode("ascii", errors="replace").removesuffix(b"$")
    return _ESCAPE.sub(_plain, raw) + b"\n"


def _plain(match: re.Match[bytes]) -> bytes:
    word = match[1]
    return _PLAIN[word] if word in _PLAIN else bytes([int(word, 8) & 0xFF])


class Frames:
    """Turns a container's log stream, in pieces of any size, into entries.

    The engine splits lines above 16 kB into several frames, each with a stamp: they are put together again.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._framed: bool | None = None
        self._open: dict[str, bytes] = {}

    def feed(self, data: bytes) -> Iterator[Entry]:
        """Take more of the stream; the entries that are complete now."""
        self._buffer += data
        if self._framed is None and len(self._buffer) >= 4:
            self._framed = self._buffer[0] in _STREAMS and self._buffer[1:4] == b"\0\0\0"
        if self._framed is None:
            return
        for stream, payload in self._frames() if self._framed else self._lines():
            yield from self._join(stream, payload)

    def end(self) -> Iterator[Entry]:
        """What was begun and never got its line end."""
        if self._framed is not True and self._buffer.strip():
            self._open["stdout"] = self._open.pop("stdout", b"") + self._buffer
        self._buffer = b""
        for stream, payload in self._open.items():
            if payload.strip():
                yield _entry(stream, payload)
        self._open.clear()

    def _frames(self) -> list[tuple[str, bytes]]:
        data, at, whole = self._buffer, 0, []
        while at + 8 <= len(data):
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
            if end > len(data):
                break
            whole.append((_STREAMS.get(data[at], "stdout"), data[at + 8 : end]))
            at = end
        self._buffer = data[at:]
        return whole

    def _lines(self) -> list[tuple[str, bytes]]:
        *whole, self._buffer = self._buffer.split(b"\n")
        return [("stdout", line + b"\n") for line in whole]

    def _join(self, stream: str, payload: bytes) -> Iterator[Entry]:
        before = self._open.pop(stream, b"")
        if before:
            payload = before + _STAMP.sub(b"", payload, count=1)
        if payload.endswith(b"\n"):
            yield _entry(stream, payload)
        else:
            self._open[stream] = payload


def _entry(stream: str, payload: bytes) -> Entry:
    match = _STAMP.match(payload)
    text = payload[match.end() :] if match else payload
    return Entry(match["time"].decode() if match else "", stream, text.decode(errors="replace").rstrip("\r\n"))
