"""What to type next, by what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opsctl.model.stack import Droplet, Stack
from opsctl.model.units import show_size
from opsctl.model.why import Death, Kill, WhyFacts


def next_steps(
    verdict: str,
    facts: WhyFacts,
    stack: Stack,
    droplet: Droplet,
    deaths: Sequence[Death],
    kills: Sequence[Kill],
    *,
    killed: bool,
) -> tuple[str, ...]:
    """Commands to copy, the best first. `kills` are those that matter now; `killed`: there was one at all."""
    flag = f" -d {droplet.name}" if len(stack.droplets) > 1 else ""
    return tuple(dict.fromkeys(_steps(verdict, facts, flag, deaths, kills, killed)))[:5]


def _steps(
    verdict: str, facts: WhyFacts, flag: str, deaths: Sequence[Death], kills: Sequence[Kill], killed: bool
) -> Iterator[str]:
    if verdict == "ok":
        yield f"opsctl status{flag}"
        if killed:
            yield f"opsctl memory report{flag}"
        return
    if verdict == "engine":
        yield f"opsctl recover{flag}   # starts the engine, then the services"
        yield "on the droplet: journalctl -u docker -n 50"
        return
    if verdict == "disk":
        yield "on the droplet: df -h; docker system df; du -xh --max-depth=2 /var | sort -h | tail"
    if any(each.scope == "host" for each in kills):
        yield f"opsctl recover{flag} --up-to fallback   # only what must run, until there is memory again"
        yield f"opsctl memory report{flag}"
    limits = {each.culprit or each.victim: each for each in kills if each.scope == "limit"}
    for name, kill in limits.items():
        limit = f" (now {show_size(kill.limit)})" if kill.limit else ""
        yield f"raise the memory limit of {name} in the compose file{limit}, then: opsctl deploy{flag}"
    if len(deaths) == 1 and deaths[0].state in ("stopped", "not created", "created"):
        yield f"opsctl startup --only {deaths[0].service}{flag}"
    elif deaths and all(each.state == "restarting" for each in deaths) and not kills:
        # A program that crashes at its first line does so after a restart, too.
        yield from (f"opsctl logs {each.service}{flag} --since 10m" for each in deaths)
    elif deaths:
        yield f"opsctl recover{flag}   # restarts what failed, and proves that it is back"
    for death in deaths:
        yield f"opsctl logs {death.service}{flag} --since 10m"
    if verdict == "pressure":
        yield f"opsctl memory report{flag}"
    yield f"opsctl status{flag}"
