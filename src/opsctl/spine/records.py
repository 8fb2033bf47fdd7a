"""What the audit and the journals say, read back. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, cast, get_args

from opsctl.model.audit import AuditRun, JournalStep, RunOutcome
from opsctl.model.ports import Script
from opsctl.spine.processes import born

_OUTCOMES = get_args(RunOutcome)
_READ = r"""
[ -e "$1/audit.jsonl" ] || exit 0
tail -n "$2" "$1/audit.jsonl"
"""
_JOURNAL = r"""
[ -e "$1/runs/$2.jsonl" ] || exit 0
cat "$1/runs/$2.jsonl"
"""


def read(state_dir: str, lines: int) -> Script:
    """The last lines of the droplet's audit; nothing where there is none."""
    return Script(_READ, (state_dir, str(lines)))


def read_journal(state_dir: str, run: str) -> Script:
    """The journal of one run; nothing where there is none."""
    return Script(_JOURNAL, (state_dir, run))


def values(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The lines that are whole; one that was written half hides no other."""
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def runs(
    lines: Iterable[str], *, holding: Iterable[str] = (), where: Literal["droplet", "here"] = "droplet"
) -> list[AuditRun]:
    """The runs, in the order they began. One without an end is running if it is `holding` a lease, else abandoned."""
    found: list[AuditRun] = []
    open_: dict[str, int] = {}  # a run that works in several parts begins several times
    alive = set(holding)
    for value in values(lines):
        run = str(value.get("run", ""))
        if value.get("event") == "begin":
            open_[run] = len(found)
            found.append(_begun(value, run, where))
            if where == "here" and _lives(value):
                alive.add(run)
        elif value.get("event") == "end" and run in open_:
            number = open_.pop(run)
            found[number] = _ended(found[number], value)
        elif value.get("event") == "end" and value.get("outcome") in ("abandoned", "broken"):
            # It took the lease and died before it could write its own first line.
            found.append(_ended(_begun(value, run, where), value))
    for run, number in open_.items():
        if run in alive or (found[number].under in alive and found[number].under):
            found[number] = replace(found[number], outcome="running")
    return found


def steps(lines: Iterable[str]) -> tuple[tuple[str, ...], tuple[JournalStep, ...]]:
    """The last part of a run by its journal: the ids in the plan's order, and how far each came."""
    titles: dict[str, str] = {}
    ended: dict[str, tuple[str, str]] = {}
    for value in values(lines):
        event = value.get("event")
        if event == "run":
            titles, ended = {str(name): str(title) for name, title in value.get("steps", ())}, {}
        elif event in ("begin", "end"):
            ended |= {str(name): _far(value, event) for name in value.get("steps", ())}
        elif event == "over":
            told = {name: (str(how[0]), str(how[1])) for name, how in value.get("steps", {}).items()}
            ended |= told
    names = tuple(titles) or tuple(ended)
    return names, tuple(
        JournalStep(name, titles.get(name, name), *ended.get(name, ("not begun", ""))) for name in names
    )


def _far(value: Mapping[str, Any], event: str) -> tuple[str, str]:
    if event == "begin":
        return "under way", ""
    code = value.get("code")
    return ("done", "") if code == 0 else ("failed", f"exit status {code}")


def _begun(value: Mapping[str, Any], run: str, where: Literal["droplet", "here"]) -> AuditRun:
    def text(key: str) -> str:
        return str(value.get(key, ""))

    return AuditRun(
        run=run,
        at=text("at"),
        outcome="abandoned",
        command=text("command"),
        user=text("user"),
        origin=text("from"),
        login=text("login"),
        plan=text("plan"),
        opsctl=text("opsctl"),
        name=text("name"),
        under=text("under"),
        where=where,
    )


def _ended(begun: AuditRun, value: Mapping[str, Any]) -> AuditRun:
    outcome, code, seconds = value.get("outcome"), value.get("exit_code"), value.get("seconds")
    return replace(
        begun,
        outcome=cast(RunOutcome, outcome) if outcome in _OUTCOMES else "failed",
        exit_code=code if isinstance(code, int) else None,
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        detail=str(value.get("detail", "")),
        closed_by=str(value.get("closed_by", "")),
    )


def _lives(begin: Mapping[str, Any]) -> bool:
    number, when = str(begin.get("pid", "")), begin.get("born", "")
    now = born(int(number)) if number.isdigit() else ""
    # Without a moment it is a line of an older opsctl: its number alone might be another process's by now.
    return bool(now) and now == when
