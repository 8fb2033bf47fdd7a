"""What is wrong on a droplet, in a line each, with what to type next."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.model.engine import Begun, StackFacts
from opsctl.model.stack import Droplet
from opsctl.model.status import Level, Problem, ServiceStatus

_RECENT = 3600.0  # s in which a restart is worth a word


def find_problems(services: tuple[ServiceStatus, ...], facts: StackFacts, droplet: Droplet) -> Iterator[Problem]:
    """Everything wrong: a release that is not finished first, for that explains the services."""
    if facts.begun is not None:
        yield _unfinished(facts.begun, services)
    yield from _service_problems(services, facts)
    yield from _host_problems(facts, droplet)


def _service_problems(services: tuple[ServiceStatus, ...], facts: StackFacts) -> Iterator[Problem]:
    for each in services:
        if each.level is Level.BAD:
            yield Problem(each.name, _what(each, facts), _next(each, facts))
        elif each.level is Level.STARTING and each.wanted:
            said = f": {each.detail}" if each.detail else ""
            yield Problem(each.name, f"{each.name} is still starting{said}", f"opsctl logs {each.name} -f")
        elif each.restarts and each.since is not None and each.since < _RECENT and each.level is Level.OK:
            text = f"{each.name} crashed and was restarted ({each.restarts} times since it was started)"
            yield Problem(each.name, text, f"opsctl logs {each.name} --since 1h", "warning")
    if differing := [each.name for each in services if each.differs]:
        # What goes on with an unfinished release makes these true, too.
        then = "" if facts.begun else "opsctl deploy   # when it suits you; --dry-run shows what it would do"
        yield Problem("", f"not as the compose file says now: {', '.join(differing)}", then, "warning")


def _unfinished(begun: Begun, services: tuple[ServiceStatus, ...]) -> Problem:
    down = [each.name for each in services if each.name in begun.up and each.level in (Level.IDLE, Level.BAD)]
    said = f": {', '.join(down)} {'does' if len(down) == 1 else 'do'} not run" if down else ""
    if begun.busy:
        return Problem("", f"release {begun.release} is being brought in right now", "opsctl lease show", "warning")
    level = "failed" if down else "warning"
    if begun.back:
        text = f"the rollback to release {begun.release} is not finished{said}"
        return Problem("", text, "opsctl rollback   # goes on", level)
    deployed = begun.command.startswith("opsctl deploy")
    goes_on = "opsctl deploy --resume" if deployed or not begun.command else begun.command
    goes_back = "\nopsctl rollback   # goes back; env files stay, unless --with-env" if begun.current else ""
    return Problem("", f"release {begun.release} is not finished{said}", f"{goes_on}   # goes on{goes_back}", level)


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


def _next(each: ServiceStatus, facts: StackFacts) -> str:
    match each.state:
        case "not created" | "stopped" | "created" | "killed" if facts.begun and each.name in facts.begun.up:
            return ""  # a start alone would not finish the release
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
