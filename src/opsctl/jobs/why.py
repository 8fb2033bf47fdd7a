"""Why something died: one read, and an answer in sentences that can be pasted into a chat."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from opsctl.jobs import why_now
from opsctl.jobs.containers import Found, stack_project
from opsctl.jobs.why_deaths import deaths_of
from opsctl.jobs.why_host import evidence, notes
from opsctl.jobs.why_kills import kills_of
from opsctl.jobs.why_next import next_steps
from opsctl.jobs.why_times import utc
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container
from opsctl.model.errors import UsageError
from opsctl.model.ports import Shell
from opsctl.model.stack import Droplet, Stack
from opsctl.model.why import Why, WhyFacts, WhyReader


def why(shell: Shell, reader: WhyReader, stack: Stack, droplet: Droplet, *, service: str = "", cancel: Cancel) -> Why:
    """Read a droplet once and say what died; changes nothing. Raises OpsError, UsageError for an unknown service."""
    return explain(reader.read(shell, service=service, cancel=cancel), stack, droplet, service=service)


def explain(facts: WhyFacts, stack: Stack, droplet: Droplet, *, service: str = "") -> Why:
    """What the facts mean; pure. Raises UsageError."""
    own = _own(facts, stack, droplet)
    if service:
        _check(service, stack, own, facts)
    names = facts.names
    kills = kills_of(facts, names)
    deaths = () if facts.engine_error else tuple(deaths_of(facts, stack, own, service))
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
        notes=tuple(notes(facts)),
        boot_id=facts.boot_id,
        booted=utc(facts.now - facts.uptime),
        uptime=facts.uptime,
        before_ended="unknown" if facts.clean_end is None else "clean" if facts.clean_end else "cut",
        memory=facts.memory,
        reserve=droplet.reserve,
    )


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
