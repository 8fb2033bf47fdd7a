"""What a first stack file says, and its text. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from opsctl.model.engine import ComposeService, StackFacts
from opsctl.model.memory_facts import MemorySample, Usage
from opsctl.model.stack import Droplet, Stack
from opsctl.model.units import show_size

_STEP = 5_000_000  # figures are rounded up to it: nobody wants to maintain bytes
_MARGIN = 1.1
_URL = re.compile(r"http://(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::(?P<port>\d+))?(?P<path>/[^\s\"'|;&)$]*)?")
_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./@:+-]*(?<!:)")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}


@dataclass(frozen=True)
class DraftService:
    """One service of the draft. Bytes; the notes say where a figure comes from, or why there is none."""

    name: str
    phase: int | None
    memory: int | None
    memory_from: str
    http: str = ""
    tcp: int | None = None
    in_compose: tuple[str, ...] = ()  # keys that x-opsctl gives already
    running: bool = False


@dataclass(frozen=True)
class Draft:
    """What was found on a droplet, and what the stack file will say about it."""

    droplet: Droplet
    project: str
    compose_files: tuple[str, ...]
    services: tuple[DraftService, ...]
    outside: tuple[str, ...]  # containers that belong to no service of this project
    total: int
    available: int


def draft(droplet: Droplet, facts: StackFacts, merged: Stack, sample: MemorySample | None) -> Draft:
    """The draft that follows from what was read."""
    trust = _limits_fit(facts, droplet.reserve)
    found = [_service(name, facts, merged, sample, trust_limits=trust) for name in facts.compose]
    known = {container.name for container in facts.containers if container.project == facts.project}
    return Draft(
        droplet=droplet,
        project=facts.project,
        compose_files=facts.compose_files,
        services=tuple(sorted(found, key=lambda each: each.phase or 999)),
        outside=tuple(container.name for container in facts.containers if container.name not in known),
        total=facts.memory.total,
        available=facts.memory.available,
    )


def _limits_fit(facts: StackFacts, reserve: int) -> bool:
    return sum(service.memory_limit for service in facts.compose.values()) + reserve <= facts.memory.total


def _service(
    name: str, facts: StackFacts, merged: Stack, sample: MemorySample | None, *, trust_limits: bool
) -> DraftService:
    service, container = facts.compose[name], facts.of(name)
    seen = sample.of(name, facts.project) if sample else None
    memory, source = _memory(seen.memory if seen else None, service, trust_limits=trust_limits)
    http, tcp = _gate(service)
    return DraftService(
        name=name,
        phase=merged.services[name].phase,
        memory=memory,
        memory_from=source,
        http=http,
        tcp=tcp,
        in_compose=tuple(sorted(service.x_opsctl)),
        running=container is not None and container.status == "running",
    )


def _memory(usage: Usage | None, service: ComposeService, *, trust_limits: bool) -> tuple[int | None, str]:
    """The peak is only told: it counts page cache, and who reads many files has their limit as the peak."""
    used = max(usage.used or 0, usage.unreclaimable or 0) if usage else 0
    if usage and used:
        peak = f", peak {show_size(usage.peak)}" if usage.peak else ""
        return math.ceil(used * _MARGIN / _STEP) * _STEP, f"uses {show_size(used)} now{peak}"
    limit = service.memory_limit
    if limit and trust_limits:
        return limit, "its limit, it does not run now"
    return None, f"does not run now, limit {size(limit)}" if limit else "does not run now, no limit"


def _gate(service: ComposeService) -> tuple[str, int | None]:
    """An HTTP health check can be asked from outside, which costs less than a process in the container each time."""
    match = _URL.search(" ".join(service.health_test))
    if match is not None:
        port = int(match["port"] or 80)
        return f":{service.ports.get(port, port)}{match['path'] or '/'}", None
    if service.health_test or not service.ports:
        return "", None
    return "", min(service.ports)


def text_of(found: Draft, made: str) -> str:
    """The stack file's text."""
    return "\n".join((*_head(found, made), *_droplet(found.droplet), *_services(found), *_tail(found))) + "\n"


def _head(found: Draft, made: str) -> Iterator[str]:
    running = sum(each.running for each in found.services)
    yield f"# {_one_line(made)}"
    services = f"{len(found.services)} services, {running} of them running"
    yield f"# Found: compose project {_one_line(found.project)}, {services};"
    yield f"# {show_size(found.total)} of memory, {show_size(found.available)} of it available."
    if hint := advice(found):
        yield from (f"# {line}" for line in hint)
    yield "# It adds what the compose file doesn't know. `opsctl config show` says what is in force."
    yield "version: 1"


def advice(found: Draft) -> tuple[str, ...]:
    """What to do about services whose need is not known; nothing where all are."""
    unknown = sum(each.memory is None for each in found.services if each.phase is not None)
    if not unknown:
        return ()
    return (
        f"What {unknown} of them need is unknown: they don't run now, and limits say nothing where they add up to more",
        "than there is; startup counts half of each. `opsctl init --force` while they run writes what they really use.",
    )


def _droplet(droplet: Droplet) -> Iterator[str]:
    yield "droplets:"
    yield f"  {scalar(droplet.name)}:"
    yield f"    address: {scalar(droplet.address)}"
    for key, value in (("key", droplet.key), ("known_hosts", droplet.known_hosts)):
        if value:
            yield f"    {key}: {scalar(value)}"
    for key, paths in (("compose", droplet.compose), ("env_file", droplet.env_file)):
        if paths:
            several = ", ".join(scalar(each) for each in paths)
            yield f"    {key}: " + (several if len(paths) == 1 else f"[{several}]")
    if droplet.project:
        yield f"    project: {scalar(droplet.project)}"
    yield f"    reserve: {size(droplet.reserve)}  # stays free when a phase starts"
    given = [f"{key}: {scalar(value)}" for key, value in (("socket", droplet.socket),) if value]
    given += [f"sudo: {droplet.sudo}"] if droplet.sudo != "auto" else []
    if given:
        yield f"    docker: {{{', '.join(given)}}}"


def _services(found: Draft) -> Iterator[str]:
    phased = [each for each in found.services if each.phase is not None]
    yield "services:" if phased else "services: {}"
    for phase, services in groupby(phased, key=lambda each: each.phase):
        first = "depends on nothing" if phase == 1 else "what it depends on is in an earlier phase"
        yield f"  # Phase {phase}: {first}." if not _given(phased, "phase") else f"  # Phase {phase}."
        for each in services:
            yield _line(each)


def _given(services: Sequence[DraftService], key: str) -> bool:
    return any(key in each.in_compose for each in services)


def _line(each: DraftService) -> str:
    parts = [f"phase: {each.phase}"]
    parts += [f"memory: {size(each.memory)}"] if each.memory else []
    parts += [f"gate: {{http: {json.dumps(each.http)}}}"] if each.http else []
    parts += [f"gate: {{tcp: {each.tcp}}}"] if each.tcp else []
    kept = [part for part in parts if part.partition(":")[0] not in each.in_compose]
    note = each.memory_from if "memory" not in each.in_compose else ""
    if not each.memory and note:
        note = f"memory unknown: {note}"
    there = f"{', '.join(each.in_compose)}: in the compose file" if each.in_compose else ""
    comment = "; ".join(filter(None, (note, there)))
    return f"  {scalar(each.name)}: {{{', '.join(kept)}}}" + (f"  # {_one_line(comment)}" if comment else "")


def _tail(found: Draft) -> Iterator[str]:
    left = [each.name for each in found.services if each.phase is None]
    if left:
        yield f"# Not started by phases (a profile, or no phase given): {_one_line(', '.join(left))}."
    if found.outside:
        yield f"# Not of this project, and never touched: {_one_line(', '.join(found.outside))}."
    yield "# Worth adding where it fits:"
    yield '#   proof: ["a text its log must show"]        then: [{sql: tables.sql}, {command: [a, b]}]'
    yield "#   one_by_one: true  (starts alone, only if it fits)        optional: true  (may fail)"


def size(count: int) -> str:
    """A size as the stack file writes it; reading it back gives the same bytes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("GiB", 2**30), ("MiB", 2**20)):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def scalar(text: str) -> str:
    """A text as YAML, quoted where it must be; what looks like a variable is kept from being one."""
    text = text.replace("$", "$$")
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
