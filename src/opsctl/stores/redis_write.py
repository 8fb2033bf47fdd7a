"""Writing keys of every type to a Redis: the server's own form where it takes that, else by plain commands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from opsctl.model.migrate import Removal
from opsctl.model.redis_value import Held, held
from opsctl.stores.redis_line import Command, Line, in_goes
from opsctl.stores.redis_read import Reading
from opsctl.stores.redis_scripts import PUT, REMOVE

_COMPARE = Reading(most=1 << 30, elements=1 << 20, whole=True, dumps=False)


def put(mode: str, key: bytes, value: Held) -> Command:
    """What writes a key by plain commands, in one go. `mode`: `new` leaves alone what is there, `replace` does not."""
    return ("EVAL", PUT, 1, key, mode, value.kind, "" if value.ends is None else value.ends, *value.parts)


def restore(key: bytes, value: Held, *, replace: bool) -> Command:
    """What writes a key from its dump."""
    words: list[Any] = ["RESTORE", key, value.ends or 0, value.dump]
    words += ["REPLACE"] if replace else []
    return (*words, "ABSTTL") if value.ends else tuple(words)


def removed(line: Line, reading: Reading, seen: Sequence[tuple[bytes, bytes]]) -> list[Removal]:
    """Delete keys that still have their digest. The server compares each with what was read just now, and deletes it
    in the same go: whatever a client writes in between makes it another one."""
    now = reading.read(line, [key for key, _ in seen])
    commands: list[Command] = []
    outcomes: list[Removal | None] = []
    for key, digest in seen:
        record = now.get(key)
        if record is None or record.fault or record.digest != digest:
            outcomes.append(Removal.GONE if record is None else Removal.CHANGED)
            continue
        value = held(record)
        commands.append(("EVAL", REMOVE, 1, key, value.kind, *value.parts))
        outcomes.append(None)
    answers = iter(in_goes(line, commands))
    return [each or _removal(next(answers)) for each in outcomes]


def _removal(answer: Any) -> Removal:
    if isinstance(answer, Exception):
        raise answer
    return Removal(answer.decode())


def restored(line: Line, pairs: Sequence[tuple[bytes, Held]]) -> list[str]:
    """Put back what is missing: `restored`, `there`, `differs` or `expired` for each, in order.

    From the dump where there is one, for it has what plain commands cannot write: a stream's groups.
    """
    now = time.time() * 1000
    outcomes: list[str | None] = [
        "expired" if value.ends is not None and value.ends <= now else None for _key, value in pairs
    ]
    todo = [number for number, outcome in enumerate(outcomes) if outcome is None]
    dumped = [number for number in todo if pairs[number][1].dump]
    answers = in_goes(line, [restore(*pairs[number], replace=False) for number in dumped])
    busy = []
    for number, answer in zip(dumped, answers, strict=True):
        if not isinstance(answer, Exception):
            outcomes[number] = "restored"
        elif "BUSYKEY" in str(answer):
            busy.append(number)
    there = _COMPARE.read(line, [pairs[number][0] for number in busy])
    for number in busy:
        key, value = pairs[number]
        if key in there:
            outcomes[number] = "there" if there[key].digest == value.digest else "differs"
    todo = [number for number, outcome in enumerate(outcomes) if outcome is None]
    for number, answer in zip(todo, in_goes(line, [put("new", *pairs[number]) for number in todo]), strict=True):
        if isinstance(answer, Exception):
            raise answer
        outcomes[number] = answer.decode()
    return [outcome or "differs" for outcome in outcomes]
