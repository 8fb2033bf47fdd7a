"""Going through the keys of a server, page by page, the next one on its way while one is worked on."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opsctl.model.migrate import Record
from opsctl.stores.redis_info import parse_info
from opsctl.stores.redis_line import Command, Line, broken
from opsctl.stores.redis_read import Go, Reading

_COUNT = 1000
_TRIES = 5  # for a key that is of another type each time one looks


def literal(text: str) -> str:
    """A glob of Redis that matches this text and nothing else."""
    return "".join(f"\\{each}" if each in "\\*?[]^-" else each for each in text)


class Walk:
    """One walk over all keys of a glob. `step` is repeated on a new line when one breaks.

    Three pages are under way at once: of one the keys are asked for, of one what they are, of one what they hold.
    A cursor is worth something only to the start of the server that gave it: after another one the walk begins anew.
    """

    def __init__(self, match: str, reading: Reading) -> None:
        self._match = match
        self._reading = reading
        self._line: Line | None = None
        self._run: str | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._cursor: bytes | None = b"0"  # of the page that is asked for; None after the last
        self._keys: list[bytes] = []  # of the page that is outlined
        self._goes: list[Go] = []  # of the page that is read
        self._moved: list[bytes] = []  # to be outlined once more
        self._tries: Counter[bytes] = Counter()

    @property
    def over(self) -> bool:
        """Whether everything was read."""
        return self._cursor is None and not self._keys and not self._goes and not self._moved

    def step(self, line: Line) -> list[Record]:
        """The next records; often none. Raises what the line raises, and the error that a page was answered with."""
        if line is not self._line:
            self._take(line)
        answers = line.receive()
        go, self._goes = (self._goes[0], self._goes[1:]) if self._goes else (None, [])
        found = [] if self._goes else self._turn(answers)
        try:
            self._send(line)  # before the records are made: meanwhile the server works
        except Exception as error:
            if not broken(error):
                raise
            self._line = None  # the records that are here count; the next step finds the line broken
        if go is None:
            return found
        records, moved = self._reading.records(go, answers)
        return [*records, *found, *self._again(moved)]

    def _again(self, moved: list[bytes]) -> list[Record]:
        """What is gone or of another type since it was outlined comes with the next page; the rest gives up."""
        self._tries.update(moved)
        self._moved += [key for key in moved if self._tries[key] <= _TRIES]
        return [self._reading.restless(key) for key in moved if self._tries[key] > _TRIES]

    def _turn(self, answers: list[Any]) -> list[Record]:
        """Take over the next pages, which are the last answers. The records of those that cannot be read."""
        cursor, keys = self._cursor, list[bytes]()
        if cursor is not None:
            answer = answers.pop()
            if isinstance(answer, Exception):
                raise answer
            cursor, keys = (None if answer[0] == b"0" else answer[0]), answer[1]
        faults: list[Record] = []
        goes: list[Go] = []
        if self._keys:
            page = self._reading.page(self._keys, answers.pop())
            faults, goes = page.faults, [go for go in page.goes if go.strings or go.hashes or go.others]
        self._cursor, self._keys, self._goes = cursor, [*keys, *self._moved], goes
        self._moved = []
        return faults

    def _take(self, line: Line) -> None:
        run = parse_info(line.ask([("INFO", "server")])[0]).get("run_id", "")
        if self._run is not None and (not run or run != self._run):
            self._begin_anew()
        self._run, self._line = run, line
        self._send(line)

    def _send(self, line: Line) -> None:
        commands: list[Command] = []
        if self._goes:
            commands += self._goes[0].commands(dumps=self._reading.dumped)
        if len(self._goes) < 2:
            if self._keys:
                commands.append(self._reading.outline(self._keys))
            if self._cursor is not None:
                commands.append(("SCAN", self._cursor, "MATCH", self._match, "COUNT", _COUNT))
        if commands:
            line.send(commands)
