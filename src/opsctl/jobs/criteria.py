"""What must hold for a droplet to count as recovered: measured, and judged purely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from opsctl.jobs import gates_once
from opsctl.jobs.call import Call
from opsctl.jobs.startup import merged
from opsctl.jobs.status import describe, is_up
from opsctl.jobs.why import explain
from opsctl.jobs.why_times import clock, seconds_of, utc
from opsctl.model.cancel import Cancel
from opsctl.model.engine import ProbeState
from opsctl.model.errors import ConfigError, DeadlineExceeded, ErrorInfo, UnreachableError
from opsctl.model.operate import DropletFacts
from opsctl.model.ports import Shell
from opsctl.model.recovery import Criterion
from opsctl.model.stack import Stack
from opsctl.model.status import Level
from opsctl.model.units import show_size
from opsctl.model.why import Why, WhyReader

_PATIENCE = 15.0  # s for a service to answer: one that is well does so at once, and a slow droplet is no broken one
_NO_REBOOT_HELPS = ("no-docker", "no-compose", "compose-v1", "compose-too-old", "docker-permission", "sudo-refused")
FALLBACK_PHASE = 2  # what must run, where the stack file does not say it


@dataclass(frozen=True)
class Reading:
    """What was measured at one moment. `facts` is None where the engine or compose could not be asked."""

    why: Why
    stack: Stack
    facts: DropletFacts | None
    gates: Mapping[str, ProbeState] = field(default_factory=dict)
    error: ErrorInfo | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """The services that must run."""
        return required(self.stack)

    def standing(self, name: str) -> tuple[bool, str]:
        """Whether a service is up, and what was seen."""
        if self.facts is None:
            return False, "the engine could not be asked"
        found = self.facts.of(name)
        if found is None:
            lacks = name in self.facts.missing_images
            return False, "its image is not on the droplet" if lacks else "it has no container"
        state, level, detail = describe(found)
        if not is_up(found) or level is Level.BAD:
            return False, f"{state}: {detail}" if detail else state
        gate = self.gates.get(name)
        if gate is not None:
            return gate.state == "passed", gate.detail or gate.state
        return level is Level.OK, state

    def failing(self) -> tuple[str, ...]:
        """What must run and does not, and what else fell over; what was stopped on purpose is left alone."""
        down = [name for name in self.required if not self.standing(name)[0]]
        fell = [each.service for each in self.why.deaths if each.service in self.stack.services and each.container]
        return tuple(dict.fromkeys((*down, *fell)))

    def untouched(self) -> bool:
        """Whether nothing of the stack was ever started here: there is nothing to bring back, but all to start."""
        return self.facts is not None and not any(self.facts.of(name) for name in self.stack.services)

    def looping(self) -> tuple[str, ...]:
        """What crashes again and again, and not for want of memory."""
        return tuple(each.service for each in self.why.deaths if each.state == "restarting" and not each.oom)

    def up(self) -> tuple[str, ...]:
        """The services of the stack that are up."""
        return tuple(name for name in self.stack.services if self.standing(name)[0])


def required(stack: Stack) -> tuple[str, ...]:
    """The fallback set: what the stack file says, else what is not optional of phases 1 and 2. `stack` is merged."""
    if stack.fallback:
        return stack.fallback
    return tuple(
        each.name
        for each in sorted(stack.services.values(), key=lambda each: each.phase or 0)
        if each.phase is not None and each.phase <= FALLBACK_PHASE and not each.optional
    )


def read(call: Call, shell: Shell, reader: WhyReader, *, cancel: Cancel, known: DropletFacts | None = None) -> Reading:
    """Measure a droplet: one look at what died, one at the stack, and each gate once. Raises OpsError.

    Where it is `known` what compose says, the containers alone are looked at again: the look at what died shows them.
    """
    if known is not None:
        died = reader.read(shell, service="", cancel=cancel)
        there = {each.id for each in died.containers}
        if not died.engine_error and all(each.id in there for each in known.containers):
            now = replace(known, containers=died.containers)
            return _with_gates(call, shell, explain(died, call.stack, call.droplet), now, cancel)
    with ThreadPoolExecutor(1, thread_name_prefix=f"{call.droplet.name}: facts") as pool:
        asked_facts = pool.submit(lambda: call.engine.facts(cancel=cancel))
        looked = explain(reader.read(shell, service="", cancel=cancel), call.stack, call.droplet)
    try:
        facts = asked_facts.result()
    except (UnreachableError, DeadlineExceeded) as error:
        if cancel.cancelled:
            raise
        if error.info.code in _NO_REBOOT_HELPS:
            raise
        return Reading(looked, call.stack, None, error=error.info)
    return _with_gates(call, shell, looked, facts, cancel)


def _with_gates(call: Call, shell: Shell, looked: Why, facts: DropletFacts, cancel: Cancel) -> Reading:
    stack = merged(call, facts)
    check_fallback(stack, facts)
    asked = gates_once.specs(facts, stack, patience=_PATIENCE)
    gates = gates_once.ask(call.engine, shell, asked, cancel=cancel)
    return Reading(looked, stack, facts, gates)


def check_fallback(stack: Stack, facts: DropletFacts) -> None:
    """Raise ConfigError for a name under `fallback` that compose does not have."""
    wrong = [name for name in stack.fallback if name not in facts.compose]
    if wrong:
        raise ConfigError(
            f"`fallback` names {', '.join(wrong)}, which compose does not have",
            why=f"it has {', '.join(sorted(facts.compose))}",
            next="correct `fallback:` in the stack file",
            path=stack.path,
        )


def judge(reading: Reading, *, address: str, since: float, reserve: int, optimal: bool) -> tuple[Criterion, ...]:
    """Every criterion; `since` is the host's clock in seconds, from which on no kill may have happened."""
    found = list(_minimum(reading, address, since, reserve))
    if optimal:
        found += _optimal(reading)
    return tuple(found)


def unreachable(address: str, error: ErrorInfo) -> tuple[Criterion, ...]:
    """The one criterion that can be judged where nothing answers."""
    return (Criterion("SSH", "minimum", f"{address} answers", error.why or error.what, False),)


def met(criteria: tuple[Criterion, ...]) -> bool:
    """Whether all of them hold. What could not be measured is shown as unknown, and is no reason to reboot anything."""
    return bool(criteria) and not failed(criteria)


def _minimum(reading: Reading, address: str, since: float, reserve: int) -> Iterator[Criterion]:
    yield Criterion("SSH", "minimum", f"{address} answers", "it does", True)
    engine = reading.facts.engine.version if reading.facts else ""
    said = reading.error.what if reading.error else f"Docker {engine}"
    yield Criterion("engine", "minimum", "Docker and compose answer", said, reading.facts is not None)
    for name in reading.required:
        ok, seen = reading.standing(name)
        yield Criterion(name, "minimum", "up, and its gate passes", seen, ok)
    kills = [
        each
        for each in reading.why.kills
        if each.boot == 0 and (when := seconds_of(each.time)) is not None and when >= since
    ]
    unknown = any("needs sudo" in each for each in reading.why.notes)
    last = f"{kills[-1].victim} (process {kills[-1].victim_process})" if kills else ""
    seen = f"{len(kills)}, the last of {last}" if kills else "the kernel log may not be read" if unknown else "none"
    yield Criterion(
        "OOM kills", "minimum", f"none since {clock(utc(since))}", seen, None if unknown and not kills else not kills
    )
    memory = reading.why.memory
    yield Criterion(
        "memory",
        "minimum",
        f"{show_size(reserve)} available",
        f"{show_size(memory.available)} of {show_size(memory.total)}",
        memory.available >= reserve,
    )


def _optimal(reading: Reading) -> Iterator[Criterion]:
    for service in reading.stack.services.values():
        if service.phase is not None and service.name not in reading.required:
            ok, seen = reading.standing(service.name)
            yield Criterion(service.name, "optimal", "up, and its gate passes", seen, ok)
    loops = [each.service for each in reading.why.deaths if each.state == "restarting"]
    yield Criterion("restarts", "optimal", "nothing crashes again and again", ", ".join(loops) or "nothing", not loops)


def failed(criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
    """Those that do not hold, for sure."""
    return tuple(each for each in criteria if each.ok is False)
