"""The kernel log's OOM kills: victim, culprit, and whether a container's limit or the host ran out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace

from opsctl.model.memory_facts import OomEvent
from opsctl.model.why import KernelKill, Task

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([,.]\d+)?([+-]\d\d:?\d\d|Z)?")
_INVOKED = re.compile(r"(?:^|\] |: |\d )(?P<name>[^\]:]+?) invoked oom-killer:")
_LIMIT = re.compile(r"memory: usage \d+kB, limit (?P<kb>\d+)kB")
_KILL = re.compile(r"oom-kill:constraint=(?P<constraint>\w+),(?P<rest>.*)")
_KILLED = re.compile(
    r"(?P<group>Memory cgroup out of memory: )?Killed process (?P<pid>\d+),? \(?(?P<name>[^)]*?)\)? total-vm"
)
_RESIDENT = re.compile(r"(?:anon|file|shmem)-rss:(\d+)kB")
_TASK = re.compile(r"\[ *(?P<pid>\d+)\] +\d+ +\d+ +\d+ +(?P<rss>\d+)(?P<more>(?: +-?\d+)+) +(?P<name>.+)$")
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PAGE = 4096
_WITH_ANON = 6  # numbers after the resident size since kernel 6.8, which also says how much of it is anonymous
_LARGEST = 12


@dataclass
class _Draft:
    """What was read of the kill under way."""

    invoked_by: str = ""
    limit: int | None = None
    scope: str = ""
    victim_path: str = ""
    limit_path: str = ""
    process: str = ""
    tasks: list[tuple[int, str, str]] = field(default_factory=list)
    held: list[Task] = field(default_factory=list)


def parse_ooms(lines: Iterable[str], boot: int, known: Set[str] = frozenset(), outer: str = "") -> tuple[OomEvent, ...]:
    """Every kill in the filtered kernel log of one boot, in its order; `known` are ids of containers."""
    return tuple(each.event for each in parse_kills(lines, boot, known, outer))


def parse_kills(
    lines: Iterable[str], boot: int, known: Set[str] = frozenset(), outer: str = ""
) -> tuple[KernelKill, ...]:
    """As parse_ooms, with the tasks that held most. `outer` is the droplet's own id where it is a container itself."""
    found, draft = list[KernelKill](), _Draft()
    for line in lines:
        if match := _INVOKED.search(line):
            draft = _Draft(invoked_by=match["name"])
        elif match := _LIMIT.search(line):
            draft.limit = int(match["kb"]) * 1024
        elif match := _KILL.search(line):
            _note_constraint(draft, match["constraint"], match["rest"])
        elif match := _KILLED.search(line):
            found.append(_kill(draft, line, match, boot, known, outer))
            # One invocation can kill several (memory.oom.group): they share what was read so far.
        elif match := _TASK.search(line):
            rss, more = int(match["rss"]), match["more"].split()
            anon = int(more[0]) if len(more) >= _WITH_ANON else rss
            draft.tasks.append((rss * _PAGE, match["name"], match["pid"]))
            draft.held.append(Task(match["pid"], match["name"], anon * _PAGE))
    return tuple(found)


def _kill(draft: _Draft, line: str, match: re.Match[str], boot: int, known: Set[str], outer: str) -> KernelKill:
    event = _event(draft, line, match, boot, known)
    if outer and event.limit_id == outer:  # from where the droplet stands, its own limit is all the memory there is
        event = replace(event, scope="host", limit_id="", limit=None)
    if outer and event.victim_id == outer:  # a process of the droplet's own, in none of its containers
        event = replace(event, victim_id="")
    largest = sorted(draft.held, key=lambda task: -task.anon)[:_LARGEST]
    paths = draft.victim_path + draft.limit_path
    own = event.victim_id in known or event.limit_id in known or (bool(outer) and outer in paths)
    return KernelKill(event, match["pid"], tuple(largest), line.strip(), own)


def container_id(path: str, known: Set[str] = frozenset()) -> str:
    """The container a cgroup path names: with nested engines the innermost one that is known, else the innermost."""
    ids = _ID.findall(path)
    return next((each for each in reversed(ids) if each in known), ids[-1] if ids else "")


def _note_constraint(draft: _Draft, constraint: str, rest: str) -> None:
    pairs = dict(pair.split("=", 1) for pair in rest.split(",") if "=" in pair)
    draft.scope = "limit" if constraint == "CONSTRAINT_MEMCG" else "host"
    draft.victim_path = pairs.get("task_memcg", "")
    draft.limit_path = pairs.get("oom_memcg", "")
    draft.process = pairs.get("task", "")


def _event(draft: _Draft, line: str, match: re.Match[str], boot: int, known: Set[str]) -> OomEvent:
    largest = max(draft.tasks, default=None)
    sizes = [int(size) for size in _RESIDENT.findall(line)]
    return OomEvent(
        time=_time(line),
        boot=boot,
        scope=draft.scope or ("limit" if match["group"] or draft.limit is not None else "host"),
        victim_id=container_id(draft.victim_path, known),
        victim_process=match["name"] or draft.process,
        victim_bytes=sum(sizes) * 1024 if sizes else None,
        limit_id=container_id(draft.limit_path, known),
        limit=draft.limit,
        largest_process=largest[1] if largest else "",
        largest_bytes=largest[0] if largest else None,
        largest_is_victim=largest is not None and largest[2] == match["pid"],
        invoked_by=draft.invoked_by,
    )


def _time(line: str) -> str:
    """ISO 8601 with a `+hh:mm` offset; "" where the log only knows seconds since the boot."""
    match = _STAMP.match(line)
    if match is None:
        return ""
    zone = match[3] or ""
    return match[1] + (zone[:3] + ":" + zone[3:] if len(zone) == 5 else zone)
