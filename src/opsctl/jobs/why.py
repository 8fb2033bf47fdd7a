"""Why something died: one read, and an answer in sentences that can be pasted into a chat."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from opsctl.jobs import gates_once, why_now
from opsctl.jobs.containers import Found, stack_project
from opsctl.jobs.why_deaths import deaths_of, silent_death
from opsctl.jobs.why_host import evidence, notes
from opsctl.jobs.why_kills import kills_of
from opsctl.jobs.why_next import next_steps
from opsctl.jobs.why_times import seconds_of, utc
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container, ProbeSpec, ProbeState
from opsctl.model.errors import UsageError
from opsctl.model.operate import Operator
from opsctl.model.ports import Shell
from opsctl.model.stack import Droplet, Gate, Stack
from opsctl.model.why import Why, WhyFacts, WhyReader

_ANSWER = 1.0  # s
_YOUNG = 20.0  # s; what has only just started may well be silent


def why(
    shell: Shell,
    reader: WhyReader,
    stack: Stack,
    droplet: Droplet,
    *,
    service: str = "",
    engine: Operator | None = None,
    cancel: Cancel,
) -> Why:
    """Read a droplet once and say what died; changes nothing. Raises OpsError, UsageError for an unknown service.

    With an `engine` what runs is asked, too, once and for a second at most: a service may run and answer nobody.
    """
    facts = reader.read(shell, service=service, cancel=cancel)
    gates: Mapping[str, ProbeState] = {}
    if engine is not None and not facts.engine_error:
        wanted = gate_specs(facts, stack, _own(facts, stack, droplet), service)
        gates = gates_once.ask(engine, shell, wanted, cancel=cancel)
    return explain(facts, stack, droplet, service=service, gates=gates)


def gate_specs(facts: WhyFacts, stack: Stack, own: Mapping[str, Container], service: str = "") -> tuple[ProbeSpec, ...]:
    """The HTTP or TCP gate of each service that has run for a while and of which Docker knows nothing bad."""
    found = []
    for name, each in own.items():
        gate = stack.services[name].gate if name in stack.services else Gate()
        if each.status != "running" or each.health in ("unhealthy", "starting") or service not in ("", name):
            continue
        if _is_young(each, facts):
            continue
        if gate.http or gate.tcp:
            asked = Gate(http=gate.http, tcp=gate.tcp, status=gate.status, within=_ANSWER)
            found.append(ProbeSpec(name, each.id, asked, (), each.ports))
    return tuple(found)


def explain(
    facts: WhyFacts,
    stack: Stack,
    droplet: Droplet,
    *,
    service: str = "",
    gates: Mapping[str, ProbeState] = MappingProxyType({}),
) -> Why:
    """What the facts mean, with what `gates` answered where they were asked; pure. Raises UsageError."""
    own = _own(facts, stack, droplet)
    if service:
        _check(service, stack, own, facts)
    names = facts.names
    kills = kills_of(facts, names)
    deaths = () if facts.engine_error else tuple(deaths_of(facts, stack, own, service))
    silent = _silent(own, {each.service for each in deaths}, gates)
    deaths += tuple(silent_death(name, own[name], seen, utc(facts.now)) for name, seen in silent)
    if service:
        kills = tuple(each for each in kills if service in (each.victim, each.culprit))
        deaths = tuple(each for each in deaths if each.service == service)
    verdict, answer = why_now.answer(facts, droplet, own, deaths, kills, service)
    return Why(
        droplet=droplet.name,
        taken=utc(facts.now),
        verdict=verdict,
        answer=answer,
        deaths=deaths,
        kills=kills,
        evidence=tuple(evidence(facts, deaths, kills, names)),
        next=next_steps(
            verdict, facts, stack, droplet, deaths, why_now.live(kills, facts, deaths, droplet), killed=bool(kills)
        ),
        notes=(*notes(facts), *_unasked(facts, stack, own, service, gates)),
        boot_id=facts.boot_id,
        booted=utc(facts.now - facts.uptime),
        uptime=facts.uptime,
        before_ended="unknown" if facts.clean_end is None else "clean" if facts.clean_end else "cut",
        memory=facts.memory,
        reserve=droplet.reserve,
    )


def _silent(own: Mapping[str, Container], dead: set[str], gates: Mapping[str, ProbeState]) -> list[tuple[str, str]]:
    """What runs and does not answer, with the last that was seen."""
    return [
        (name, seen.detail or seen.state)
        for name, seen in gates.items()
        if seen.state != "passed" and name in own and name not in dead
    ]


def _own(facts: WhyFacts, stack: Stack, droplet: Droplet) -> dict[str, Container]:
    """The stack's containers by service; those of all projects where none can be told."""
    listed = [
        Found(
            each.id, each.name, each.status, "", each.image, each.project, each.service, each.oneoff, each.config_files
        )
        for each in facts.containers
    ]
    project = stack_project(listed, stack, droplet)
    return {
        each.service: each
        for each in facts.containers
        if each.service and not each.oneoff and (not project or each.project == project)
    }


def _unasked(
    facts: WhyFacts, stack: Stack, own: Mapping[str, Container], service: str, gates: Mapping[str, ProbeState]
) -> tuple[str, ...]:
    """Whom nobody asked whether it answers: who has only just started, and the one asked for that cannot be asked."""
    if facts.engine_error:
        return ()
    running = {name: each for name, each in own.items() if each.status == "running" and service in ("", name)}
    asked = {name for name, each in stack.services.items() if each.gate.http or each.gate.tcp}
    young = [name for name, each in running.items() if name in asked and _is_young(each, facts)]
    if young:
        answer, have = ("answers", "it has") if len(young) == 1 else ("answer", "they have")
        return (f"Whether {', '.join(young)} {answer} was not asked: {have} only just started.",)
    if service not in running or service in gates:
        return ()
    return (f"Whether {service} answers was not asked: it has no HTTP or TCP gate.",)


def _is_young(container: Container, facts: WhyFacts) -> bool:
    started = seconds_of(container.started_at)
    return started is None or facts.now - started < _YOUNG


def _check(service: str, stack: Stack, own: Mapping[str, Container], facts: WhyFacts) -> None:
    known = sorted({*stack.services, *own})
    if service in known or (facts.engine_error and not stack.services):
        return
    near = difflib.get_close_matches(service, known, n=1)
    raise UsageError(
        f"the stack has no service {service}",
        why=f"it has {', '.join(known) or 'none'}",
        next=f"opsctl why {near[0]}" if near else "opsctl status",
    )
