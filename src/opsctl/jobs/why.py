"""Why something died: one read, and an answer in sentences that can be pasted into a chat."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from opsctl.jobs.containers import Found, stack_project
from opsctl.jobs.why_deaths import deaths_of
from opsctl.jobs.why_host import boot_words, disk_words, engine_words, evidence, notes, pressure_words
from opsctl.jobs.why_kills import kills_of
from opsctl.jobs.why_next import next_steps
from opsctl.jobs.why_times import utc
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container
from opsctl.model.errors import UsageError
from opsctl.model.ports import Shell
from opsctl.model.stack import Droplet, Stack
from opsctl.model.units import show_duration
from opsctl.model.why import Death, Kill, Why, WhyFacts, WhyReader


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
    verdict, answer = _answer(facts, droplet, own, deaths, kills, service)
    return Why(
        droplet=droplet.name,
        taken=utc(facts.now),
        verdict=verdict,
        answer=answer,
        deaths=deaths,
        kills=kills,
        evidence=tuple(evidence(facts, deaths, kills, names)),
        next=next_steps(verdict, facts, stack, droplet, deaths, kills),
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


def _answer(
    facts: WhyFacts,
    droplet: Droplet,
    own: Mapping[str, Container],
    deaths: tuple[Death, ...],
    kills: tuple[Kill, ...],
    service: str,
) -> tuple[str, tuple[str, ...]]:
    """The weightiest reason first; everything that is wrong is said."""
    said: list[tuple[str, str]] = []
    said += [("engine", text) for text in engine_words(facts)]
    said += [("disk", text) for text in disk_words(facts)]
    # A kill is why something is down only if something is: else it is told as history.
    hurt = [each for each in kills if each.boot == 0 or facts.clean_end is not True]
    told = {each.victim for each in kills}
    said += [("host-memory" if each.scope == "host" else "limit", each.text) for each in reversed(hurt)]
    said += [("boot", text) for text in boot_words(facts)]
    said += [("service", each.text) for each in deaths if not (each.service in told and each.oom)]
    said += [("down", each.text) for each in deaths if each.service in told and each.oom]
    said += [("pressure", text) for text in pressure_words(facts, droplet)]
    up = _up(own, deaths, service, facts)
    if not said:
        return "ok", (up,)
    verdict = "ok" if not _wrong(facts, deaths, droplet) else said[0][0]
    order = [("ok", up), *said] if verdict == "ok" else [*said, *([("ok", up)] if up and not service else [])]
    return verdict, tuple(text for _, text in order if text)


def _wrong(facts: WhyFacts, deaths: Iterable[Death], droplet: Droplet) -> bool:
    """Whether anything is wrong now, whatever happened before."""
    host = (*disk_words(facts), *pressure_words(facts, droplet))
    return bool(facts.engine_error or tuple(deaths) or host)


def _up(own: Mapping[str, Container], deaths: tuple[Death, ...], service: str, facts: WhyFacts) -> str:
    if facts.engine_error:
        return ""
    up = [
        name for name, each in own.items() if each.status == "running" and name not in {one.service for one in deaths}
    ]
    if service:
        return (
            f"Nothing is wrong with {service} now." if service in up else "" if deaths else f"{service} does not run."
        )
    age = show_duration(facts.uptime)
    if deaths:
        return f"{len(up)} of {len(own)} services are up: {', '.join(sorted(up))}." if up else "No service is up."
    if not own:
        return f"No service of the stack has a container; the droplet is up for {age}."
    return f"Nothing is down: {len(up)} of {len(own)} services run; the droplet is up for {age}."
