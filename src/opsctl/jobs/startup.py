"""Bring services up in phases: plan from what is there, then do it under a lease."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from opsctl.jobs.call import Call, carry_out
from opsctl.jobs.containers import read
from opsctl.jobs.gates import Operations
from opsctl.jobs.startup_actions import RunThen
from opsctl.jobs.startup_plan import Planned, plan
from opsctl.jobs.startup_report import cut_short, report
from opsctl.jobs.startup_select import Options
from opsctl.jobs.startup_steps import LocalSql
from opsctl.model import assets
from opsctl.model.cancel import Cancel
from opsctl.model.engine import EngineInfo
from opsctl.model.errors import ConfigError, ErrorInfo, ExitCode, Interrupted, OpsError, UnreachableError
from opsctl.model.operate import DropletFacts
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed, RunResult
from opsctl.model.stack import Stack
from opsctl.model.stackfile_merge import merge
from opsctl.spine.batch import Handler

_LAST_LOOK = 1.5  # s; an interrupted run is over soon
_LOOK_AGAIN = 0.25  # s


def startup(call: Call, options: Options) -> DropletResult[Changed]:
    """Bring the chosen services up. Nothing to do takes no lease and writes nothing."""
    facts = call.facts()
    stack = merged(call, facts)
    planned = plan(facts, stack, call.droplet, options, find_sql=lambda name: find_sql(stack, name))
    return execute(call, planned, facts, stack)


def merged(call: Call, facts: DropletFacts) -> Stack:
    """The stack with what compose says, the stack file's services first and in its order. Raises ConfigError."""
    file = facts.compose_files[0] if facts.compose_files else "compose"
    stack = merge(call.stack, facts.compose, compose_file=file)
    order = dict.fromkeys([*call.stack.services, *stack.services])
    return replace(stack, services={name: stack.services[name] for name in order if name in stack.services})


def find_sql(stack: Stack, name: str) -> LocalSql | None:
    """The SQL file of a `then` step: beside the stack file, else among those that are shipped."""
    path = assets.sql_file(name, Path(stack.path).resolve().parent if stack.path else None)
    return LocalSql(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) if path else None


def execute(
    call: Call,
    planned: Planned,
    facts: DropletFacts,
    stack: Stack,
    *,
    more: Mapping[str, Handler] = MappingProxyType({}),
) -> DropletResult[Changed]:
    """Do what was planned, under the lease where anything changes; or only show it. `more`: kinds of its own."""
    check_commands(call, planned)
    if planned.changes:
        check_engine(facts.engine, call.droplet.name)
    if call.dry_run:
        return _result(call, planned, facts, None, facts.memory.available)
    operations = Operations(call.engine, planned.plan, facts, stack, retry=call.entry.command, opsctl=call.opsctl)
    run = carry_out(call, planned.plan, {**operations.handlers(), **more}, changes=planned.changes)
    # A connection that was lost just now is not waited for once more.
    lost = run.exit_code is ExitCode.UNREACHABLE
    available = operations.available if lost else operations.available_now(call.host)
    return _result(call, planned, facts, run, available, up=_up_after_all(call, run, stack))


def _up_after_all(call: Call, run: RunResult, stack: Stack) -> frozenset[str]:
    """The services whose start was interrupted and that run nevertheless; none where nobody can be asked."""
    names, up, bound = frozenset(cut_short(run)), frozenset[str](), Cancel(_LAST_LOOK)
    with suppress(OpsError):
        while names - up:
            found = read(call.host, stack, call.droplet, cancel=bound).of_stack()
            up = frozenset(each.service for each in found if each.service in names and each.state == "running")
            # The engine takes a moment for what it was asked before.
            if names - up and bound.wait(_LOOK_AGAIN):
                break
    return up


def check_engine(engine: EngineInfo, droplet: str) -> None:
    """Raise UnreachableError for an engine that opsctl reads but does not change."""
    kind = "rootless" if engine.rootless else "a snap" if engine.snap else ""
    if not kind:
        return
    why = (
        "the containers' addresses and cgroups are inside its user's own namespaces, where probes and limits differ"
        if engine.rootless
        else "a snap sees only part of the host's files, and its compose may not read yours"
    )
    raise UnreachableError(
        f"Docker on {droplet} is {kind}: opsctl reports on it, but starts and stops nothing",
        why=why,
        next="opsctl doctor   (it says which packages bring an engine that is supported)",
        code="engine-unsupported",
    )


def check_commands(call: Call, planned: Planned) -> None:
    """Raise ConfigError for a `then` step that names no command: before anything starts, not after."""
    for step in planned.plan.steps:
        action = step.action
        if isinstance(action, RunThen) and action.step == "opsctl" and action.words[0] not in call.commands:
            raise ConfigError(
                f"`then` of {step.service}: opsctl has no command {action.words[0]}",
                why=f"it has {', '.join(sorted(call.commands))}",
                next="correct `then:` in the stack file; a command in the container is {command: …}",
                path=call.stack.path,
            )


def _result(
    call: Call,
    planned: Planned,
    facts: DropletFacts,
    run: RunResult | None,
    available: int,
    *,
    up: frozenset[str] = frozenset(),
) -> DropletResult[Changed]:
    changed = Changed(
        dry_run=call.dry_run,
        plan=planned.plan.to_json(),
        notes=planned.notes,
        services=report(planned.plan, run, up=up),
        run=run,
        memory_total=facts.memory.total,
        memory_available=available,
    )
    code = run.exit_code if run else ExitCode.DONE
    again = call.again if planned.changes else call.entry.command
    return DropletResult(call.droplet.name, changed, _error(run, again), code)


def _error(run: RunResult | None, again: str) -> ErrorInfo | None:
    if run is None or run.exit_code is ExitCode.DONE:
        return None
    if run.interrupted is not None:
        return Interrupted(
            "interrupted", signum=run.interrupted, why="what was up stays up", next=f"{again}   # goes on"
        ).info
    return run.error
