"""The steps of one service, and what they are made from. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from opsctl.jobs.startup_actions import AwaitGate, Expected, RunThen
from opsctl.model.engine import Container, StackFacts
from opsctl.model.errors import ConfigError
from opsctl.model.stack import Service, Then

GUESS = 100_000_000  # bytes for a service about which nobody says anything
_OF_LIMIT = 2  # a limit is the worst case; half of it is what such services use at most in practice


@dataclass(frozen=True)
class LocalSql:
    """An SQL file on this machine, and the digest of what stood in it when the plan was made."""

    path: str
    digest: str


FindSql = Callable[[str], LocalSql | None]


def expected(service: Service, facts: StackFacts) -> Expected:
    """What a service will use: the stack file, else half its limit, else a guess; it says which."""
    if service.memory is not None:
        return Expected(service.name, service.memory, "stack file")
    compose = facts.compose.get(service.name)
    if compose is not None and compose.memory_limit:
        return Expected(service.name, compose.memory_limit // _OF_LIMIT, "half of its limit")
    return Expected(service.name, GUESS, "a guess: neither `memory` nor a limit is given")


def gate_action(service: Service, container: Container | None, facts: StackFacts, *, one_shot: bool) -> AwaitGate:
    """How to ask a service: the stack file's gate, with the health check to fall back on."""
    gate, compose = service.gate, facts.compose.get(service.name)
    return AwaitGate(
        service=service.name,
        container=container.id if container else "",
        http=gate.http,
        tcp=gate.tcp,
        sql=gate.sql,
        command=gate.command,
        status=gate.status,
        within=gate.within,
        proof=service.proof,
        health_test=container.health_test if container else compose.health_test if compose else (),
        one_shot=one_shot,
        optional=service.optional,
    )


def criterion(action: AwaitGate) -> str:
    """When the gate passes, in words."""
    if action.one_shot:
        return "is done"
    asked = [f"answers on {action.http}"] if action.http else []
    asked += [f"accepts on port {action.tcp}"] if action.tcp else []
    asked += ["answers SQL"] if action.sql else []
    asked += [f"passes `{' '.join(action.command)}`"] if action.command else []
    if not asked:
        asked = ["passes its health check"] if action.health_test else ["keeps running"]
    return " and ".join(asked)


def then_action(service: Service, number: int, step: Then, find_sql: FindSql, stack_path: str | None) -> RunThen:
    """One `then` step. Raises ConfigError when its SQL file is not on this machine and should be."""
    local = None
    if step.kind == "sql" and not step.words[0].startswith(("container:", "/")):
        local = find_sql(step.words[0])
        if local is None:
            raise ConfigError(
                f"the SQL file {step.words[0]} of service {service.name} is not there",
                why="it is looked for beside the stack file and among the files that opsctl ships",
                next="correct `then:` in the stack file; a path on the droplet begins with /",
                path=stack_path,
            )
    digest = local.digest if local else ""
    mark = hashlib.sha256("\0".join((step.kind, *step.words, digest)).encode()).hexdigest()[:16]
    return RunThen(
        service=service.name,
        number=number,
        step=step.kind,
        words=step.words,
        within=step.within,
        path=local.path if local else "",
        digest=digest,
        mark=mark,
        optional=service.optional,
    )


def then_known(action: RunThen, container: Container | None) -> str:
    """What the host remembers of a `then` step that was done since this start of the container."""
    return f"{action.mark} {container.id} {container.started_at}" if container else ""
