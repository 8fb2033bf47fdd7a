"""Stop and start one service, and prove that it is back."""

from __future__ import annotations

from dataclasses import replace

from opsctl.jobs.call import Call
from opsctl.jobs.startup import execute, find_sql, merged
from opsctl.jobs.startup_plan import Planned, plan
from opsctl.jobs.startup_select import Options, known, phase_of
from opsctl.jobs.startup_steps import FindSql
from opsctl.jobs.stop import plan_stop
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Plan
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed
from opsctl.model.stack import Droplet, Stack


def restart(call: Call, service: str, *, ignore_memory: bool = False) -> DropletResult[Changed]:
    """Stop, memory gate, start, gate. A service that is not running is just started."""
    facts = call.facts()
    stack = merged(call, facts)
    options = Options(only=(service,), ignore_memory=ignore_memory)
    planned = plan_restart(facts, stack, call.droplet, options, find_sql=lambda name: find_sql(stack, name))
    return execute(call, planned, facts, stack)


def plan_restart(
    facts: DropletFacts, stack: Stack, droplet: Droplet, options: Options, *, find_sql: FindSql = lambda _: None
) -> Planned:
    """The steps of a startup of a service that is stopped, after the step that stops it. Pure."""
    (service,) = options.only
    known(stack, (service,))
    stopping = [step for step in plan_stop(facts, stack, (service,)).plan.steps if step.action.kind == "stop"]
    there = facts.of(service)
    down = tuple(
        replace(each, status="exited", exit_code=1, health="") if each is there else each for each in facts.containers
    )
    up = plan(replace(facts, containers=down), stack, droplet, options, command="restart", find_sql=find_sql)
    first = tuple(step.id for step in stopping)
    # Only what needs nothing yet has to wait for the stop; everything else comes after that anyway.
    steps = [step if step.needs else replace(step, needs=first) for step in up.plan.steps]
    phase = phase_of(stack.services[service])
    notes = tuple(
        f"{name} depends on {service}: it may notice"
        for name, each in facts.compose.items()
        if service in each.depends_on and phase and (found := facts.of(name)) and found.status == "running"
    )
    return Planned(Plan("restart", (*stopping, *steps)), (*up.notes, *notes))
