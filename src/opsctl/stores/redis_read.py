"""Reading keys of a Redis with all that belongs to them: first what they are and how large, then what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from opsctl.model.migrate import Record, digest
from opsctl.model.redis_value import Held, Kind, content_digest, fields_of, string_digest
from opsctl.model.units import show_size
from opsctl.stores.redis_line import Command, Line, hgetall
from opsctl.stores.redis_scripts import OUTLINE, READ

_KINDS: dict[str, Kind] = {"s": "string", "h": "hash", "l": "list", "e": "set", "z": "zset", "x": "stream"}
_GO = 16_000_000  # bytes of one answer; what is larger comes in several
_TRIES = 3  # for a key that is of another type each time one looks


@dataclass
class Go:
    """Keys that are read in one go: (key, seconds to live), and for what is no string its letter, too."""

    strings: list[tuple[bytes, float | None]] = field(default_factory=list)
    hashes: list[tuple[bytes, float | None]] = field(default_factory=list)
    others: list[tuple[bytes, float | None, str]] = field(default_factory=list)
    size: int = 0

    def commands(self, *, dumps: bool) -> list[Command]:
        """What reads them."""
        commands: list[Command] = []
        if self.strings:
            commands.append(("MGET", *(key for key, _ in self.strings)))
        commands += [hgetall(key) for key, _ in self.hashes]
        if self.others:
            letters = "".join(letter for _, _, letter in self.others)
            commands.append(("EVAL", READ, len(self.others), *(key for key, *_ in self.others), letters, int(dumps)))
        return commands


@dataclass
class Page:
    """Keys as they were outlined: those that cannot be read, and the goes that read the others."""

    faults: list[Record]
    goes: list[Go]


@dataclass(frozen=True)
class Reading:
    """What is read, and what is too large. `most` in bytes a value. `whole`: every type, with its dump if `dumps`."""

    most: int = 10_000_000
    elements: int = 100_000
    whole: bool = False
    dumps: bool = True

    @property
    def dumped(self) -> bool:
        """Whether the server's own form is read, too."""
        return self.whole and self.dumps

    def outline(self, keys: Sequence[bytes]) -> Command:
        """What asks what these keys are."""
        return ("EVAL", OUTLINE, len(keys), *keys, self.most, self.elements)

    def page(self, keys: Sequence[bytes], answer: Any) -> Page:
        """What `outline` was answered. Raises the error that was the answer."""
        if isinstance(answer, Exception):
            raise answer
        letters, ends, sizes, names = answer
        if (alike := self._alike(keys, letters, ends, sizes)) is not None:
            return Page([], [alike])
        others = iter(names.decode(errors="replace").split(","))
        page = Page([], [Go()])
        for key, letter, left, size in zip(keys, letters.decode(), _numbers(ends), _numbers(sizes), strict=True):
            if letter == "-":
                continue
            ttl = left / 1000 if left >= 0 else None
            kind = next(others) if letter == "?" else _KINDS[letter.lower()]
            if letter == "?" or (not self.whole and kind not in ("string", "hash")):
                page.faults.append(self._unread(key, kind, ttl))
            elif letter.isupper():
                page.faults.append(self._too_large(key, kind, ttl, size))
            else:
                go = page.goes[-1]
                if go.size and go.size + size > _GO:
                    page.goes.append(go := Go())
                go.size += size
                if letter == "s":
                    go.strings.append((key, ttl))
                elif letter == "h" and not self.dumped:
                    go.hashes.append((key, ttl))
                else:
                    go.others.append((key, ttl, letter))
        return page

    def _alike(self, keys: Sequence[bytes], letters: bytes, ends: bytes, sizes: bytes) -> Go | None:
        """The go of a page of hashes, or of strings, that all can be read at once, as nearly all pages are."""
        kind = letters[:1]
        if letters != kind * len(keys) or not (kind == b"s" or (kind == b"h" and not self.dumped)):
            return None
        size = sum(_numbers(sizes))
        if size > _GO:
            return None
        found = list(zip(keys, [left / 1000 if left >= 0 else None for left in _numbers(ends)], strict=True))
        return Go(strings=found, size=size) if kind == b"s" else Go(hashes=found, size=size)

    def records(self, go: Go, answers: Sequence[Any]) -> tuple[list[Record], list[bytes]]:
        """What a go was answered, and the keys that are gone or another type by now. Raises the error of an answer."""
        found: list[Record] = []
        moved: list[bytes] = []
        left = iter(answers)
        if go.strings:
            for (key, ttl), value in zip(go.strings, _sound(next(left)), strict=True):
                if value is None:
                    moved.append(key)
                else:
                    found.append(Record(key, value, string_digest(value), len(value), "string", ttl))
        for key, ttl in go.hashes:
            pairs = next(left)
            if not pairs or (isinstance(pairs, Exception) and str(pairs).startswith("WRONGTYPE")):
                moved.append(key)
                continue
            if isinstance(pairs, Exception):
                raise pairs
            size = sum(map(len, pairs))
            if size > self.most:
                found.append(self._too_large(key, "hash", ttl, size))
            else:
                fields, content = fields_of(pairs)
                found.append(Record(key, fields, content, size, "hash", ttl))
        if go.others:
            counts, lengths, blob = _sound(next(left))
            walk = _parts(blob, _numbers(lengths))
            for (key, ttl, letter), count in zip(go.others, _numbers(counts), strict=True):
                if count < 0:
                    moved.append(key)
                else:
                    found.append(self._record(key, _KINDS[letter], ttl, [next(walk) for _ in range(count)]))
        return found, moved

    def read(self, line: Line, keys: Sequence[bytes], tries: int = _TRIES) -> dict[bytes, Record]:
        """These keys as they are now; without those that are gone."""
        if not keys:
            return {}
        page = self.page(keys, line.ask([self.outline(keys)])[0])
        found = {record.key: record for record in page.faults}
        moved: list[bytes] = []
        for go in page.goes:
            records, again = self.records(go, line.ask(go.commands(dumps=self.dumped)))
            found |= {record.key: record for record in records}
            moved += again
        if moved and tries:
            return found | self.read(line, moved, tries - 1)
        return found

    def _record(self, key: bytes, kind: Kind, ttl: float | None, parts: list[bytes]) -> Record:
        dump = parts.pop() if self.dumped else b""
        size = sum(map(len, parts))
        if size > self.most:
            return self._too_large(key, kind, ttl, size)
        return Record(key, Held(kind, tuple(parts), dump), content_digest(kind, parts), size, kind, ttl)

    def restless(self, key: bytes) -> Record:
        """A key that was of another type each time it was looked at."""
        said = "it changes its type all the time"
        return Record(key, None, digest(b"unread", b"restless"), 0, "", None, said, "changing")

    def _unread(self, key: bytes, kind: str, ttl: float | None) -> Record:
        what = "nothing here reads that type" if self.whole else "only strings and hashes are read"
        return Record(key, None, digest(b"unread", kind.encode()), 0, kind, ttl, f"a {kind}: {what}", "wrong-type")

    def _too_large(self, key: bytes, kind: str, ttl: float | None, size: int) -> Record:
        much = show_size(size) if size > self.most or kind == "string" else f"{size:,} elements"
        said = f"a {kind} of {much}; the limit is {show_size(self.most)} and {self.elements:,} elements"
        mark = digest(b"unread", kind.encode(), str(size).encode())
        return Record(key, None, mark, size, kind, ttl, said, "too-large")


def _sound(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _numbers(text: bytes) -> list[int]:
    return list(map(int, text.split(b","))) if text else []


def _parts(blob: bytes, lengths: list[int]) -> Iterator[bytes]:
    begin = 0
    for end in accumulate(lengths):
        yield blob[begin:end]
        begin = end
