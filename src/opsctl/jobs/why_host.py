"""What is wrong with the droplet itself, and the evidence for all of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from opsctl.jobs.why_times import ago, clock, utc
from opsctl.model.stack import Droplet
from opsctl.model.units import show_duration, show_size
from opsctl.model.why import Death, Evidence, Kill, Room, WhyFacts

_FULL = 0.97
_TIGHT = 200_000_000  # bytes; below that a full disk is a matter of minutes, whatever the share
_STALLED = 20.0  # percent of the last minute in which something stood still
_RECENT = 86400.0  # s; an older boot is nobody's question
_LINES = 4  # log lines a service


def engine_words(facts: WhyFacts) -> Iterator[str]:
    """Docker is down, and what its unit says."""
    if facts.engine_error:
        said = f" ({_unit(facts.engine_said)})" if _unit(facts.engine_said) else ""
        yield f"The Docker engine does not answer{said}: {facts.engine_error.rstrip('.')}. Nothing can run without it."


def _unit(said: Sequence[str]) -> str:
    pairs = dict(line.split("=", 1) for line in said if "=" in line and " " not in line.split("=", 1)[0])
    if "ActiveState" not in pairs:
        return said[0] if said else ""
    since = f" since {pairs['StateChangeTimestamp']}" if pairs.get("StateChangeTimestamp") else ""
    result = f", {pairs['Result']}" if pairs.get("Result") not in (None, "", "success") else ""
    return f"docker.service is {pairs['ActiveState']}{result}{since}"


def full(room: Room) -> bool:
    """Whether there is no room for what databases and the engine write."""
    share = room.used / max(1, room.used + room.free)
    return share >= _FULL and (room.kind == "inodes" or room.free < 5 * _TIGHT)


def disk_words(facts: WhyFacts) -> Iterator[str]:
    """File systems without room, one sentence each; the same one may be mounted at several places."""
    seen = set()
    for room in facts.rooms:
        if full(room) and (key := (room.kind, room.size, room.free)) not in seen:
            seen.add(key)
            left = (
                f"{show_size(room.free)} of {show_size(room.size)} are free"
                if room.kind == "space"
                else f"{room.free} inodes are free"
            )
            yield f"The disk is full at {room.path}: {left}."


def boot_words(facts: WhyFacts) -> Iterator[str]:
    """A boot that nobody asked the system for."""
    if facts.uptime > _RECENT or facts.clean_end is not False:
        return
    booted = utc(facts.now - facts.uptime)
    yield (
        f"The droplet started again at {clock(booted)}{ago(booted, facts.now)} without having been shut down: "
        f"its power was cut, or it hung; its last sign of life before was at {clock(facts.last_sign)}."
    )


def pressure_words(facts: WhyFacts, droplet: Droplet) -> Iterator[str]:
    """Memory below the reserve, and whatever stands still for want of something."""
    if facts.memory.available < droplet.reserve:
        yield (
            f"Only {show_size(facts.memory.available)} of {show_size(facts.memory.total)} memory are available, "
            f"below the reserve of {show_size(droplet.reserve)}."
        )
    for name, share in facts.stalled.items():
        if share >= _STALLED and name != "cpu":
            yield f"For {share:.0f} % of the last minute something stood still, waiting for {name}."


def evidence(
    facts: WhyFacts, deaths: Sequence[Death], kills: Sequence[Kill], names: Mapping[str, str]
) -> Iterator[Evidence]:
    """What the answer rests on, the kernel's own lines first."""
    told = {(each.victim, each.victim_process, each.boot) for each in kills}
    for kill in (facts.kills or ())[-6:]:
        victim = names.get(kill.event.victim_id, "")
        if not victim or any(victim == each[0] for each in told):
            yield Evidence(_boot("kernel", kill.event.boot), short(kill.line))
    for boot, line in facts.signs[-6:]:
        yield Evidence(_boot("kernel", boot), line)
    for death in deaths:
        code = "" if death.exit_code is None else f", exit code {death.exit_code}"
        oom = f", killed for memory ({death.oom})" if death.oom else ""
        yield Evidence(f"docker {death.service}", f"{death.state}{code}, {death.restarts} restarts{oom}")
        if death.health:
            yield Evidence(f"health {death.service}", death.health.splitlines()[-1][:300])
        for line in death.log[-_LINES:]:
            yield Evidence(f"log {death.service}", line)
    yield from (Evidence("docker.service", line) for line in facts.engine_said)
    up = show_duration(facts.uptime)
    yield Evidence("memory", f"{show_size(facts.memory.available)} of {show_size(facts.memory.total)} available")
    yield Evidence("boot", f"{facts.boot_id}, up {up}, load {facts.load:g} on {facts.cpus} processors")
    if facts.last_sign:
        yield Evidence("boot before", f"ended at {facts.last_sign}, {'shut down' if facts.clean_end else 'cut off'}")
    if facts.stalled:
        yield Evidence(
            "pressure",
            ", ".join(f"{name} {share:g} %" for name, share in facts.stalled.items()) + " of the last minute",
        )


def _boot(source: str, boot: int) -> str:
    return source if boot == 0 else f"{source}, boot before"


def short(line: str) -> str:
    """A kernel line without the container ids' tails and without the caller's host name."""
    return line if len(line) <= 300 else line[:297] + "…"


def notes(facts: WhyFacts) -> Iterator[str]:
    """What could not be known, and why."""
    if facts.kills is None:
        yield "The kernel log may not be read, so kills for want of memory are unknown (it needs sudo)."
    elif not facts.before_known and not facts.nested:
        yield "The kernel log of the boot before is not there: the journal is not kept (mkdir -p /var/log/journal)."
    if facts.nested:
        yield "This droplet is a container: pressure and the boot before are the whole machine's, and left out."
