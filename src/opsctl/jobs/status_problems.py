"""What is wrong on a droplet, in a line each, with what to type next."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.model.engine import StackFacts
from opsctl.model.stack import Droplet
from opsctl.model.status import Level, Problem, ServiceStatus

_RECENT = 3600.0  # s in which a restart is worth a word


def find_problems(services: tuple[ServiceStatus, ...], facts: StackFacts, droplet: Droplet) -> Iterator[Problem]:
    """Everything wrong, services first."""
    yield from _service_problems(services, facts)
    yield from _host_problems(facts, droplet)


def _service_problems(services: tuple[ServiceStatus, ...], facts: StackFacts) -> Iterator[Problem]:
    for each in services:
        if each.level is Level.BAD:
            yield Problem(each.name, _what(each, facts), _next(each))
        elif each.level is Level.STARTING and each.wanted:
            said = f": {each.detail}" if each.detail else ""
            yield Problem(each.name, f"{each.name} is still starting{said}", f"opsctl logs {each.name} -f")
        elif each.restarts and each.since is not None and each.since < _RECENT and each.level is Level.OK:
            text = f"{each.name} crashed and was restarted ({each.restarts} times since it was started)"
            yield Problem(each.name, text, f"opsctl logs {each.name} --since 1h", "warning")
    if differing := [each.name for each in services if each.differs]:
        files = " ".join(f"-f {path}" for path in facts.compose_files)
        yield Problem(
            "",
            f"not as the compose file says now: {', '.join(differing)}",
            f"when it suits you, on the droplet: docker compose {files} up -d --no-deps {' '.join(differing)}",
            "warning",
        )


def _what(each: ServiceStatus, facts: StackFacts) -> str:
    said = f": {each.detail}" if each.detail else ""
    match each.state:
        case "not created" | "stopped" | "created":
            return f"{each.name} does not run ({each.state}), though its phase was started"
        case "no image":
            return f"{each.name} does not run: {each.detail}"
        case "killed":
            return f"{each.name} was killed (exit status 137){said}"
        case "restarting":
            return f"{each.name} crashes again and again: {each.restarts} restarts, {each.detail}"
        case "OOM-killed":
            limit = f", its limit is {each.memory_limit // 10**6} MB" if each.memory_limit else ""
            return f"{each.name} ran out of memory and was killed{limit}"
        case "not in the compose file":
            return f"{each.name} is in the stack file, not in {next(iter(facts.compose_files), 'compose')}"
        case state if state.startswith("exited "):
            return f"{each.name} ended with status {each.exit_code}{said}"
        case _:
            return f"{each.name} is {each.state}{said}"


def _next(each: ServiceStatus) -> str:
    match each.state:
        case "not created" | "stopped" | "created" | "killed":
            return f"opsctl startup --phase {each.phase or 1}"
        case "no image":
            return f"on the droplet: docker pull {each.image}   (or build it)"
        case "OOM-killed":
            return "opsctl memory report"
        case "paused":
            return f"on the droplet: docker unpause {each.container}"
        case "not in the compose file":
            return "opsctl config show"
        case _:
            return f"opsctl logs {each.name} --since 10m"


def _host_problems(facts: StackFacts, droplet: Droplet) -> Iterator[Problem]:
    if facts.memory.available < droplet.reserve:
        yield Problem(
            "",
            f"{facts.memory.available // 10**6} MB of memory are available, below the reserve of "
            f"{droplet.reserve // 10**6} MB",
            "opsctl memory report",
            "warning",
        )
