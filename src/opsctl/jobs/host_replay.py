"""What the unit runs after a boot: bring up, gated, what was up before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opsctl.jobs.call import STATE_DIR, Call
from opsctl.jobs.startup import merged, startup
from opsctl.jobs.startup_select import Options
from opsctl.model.errors import StepFailed
from opsctl.model.operate import DropletFacts
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed
from opsctl.model.stack import Stack
from opsctl.spine import hold


def replay(call: Call, *, ignore_memory: bool = False) -> DropletResult[Changed]:
    """Start the services that are to be up, by phase; those without a phase last. Raises StepFailed while held."""
    held = hold.parse(call.host.run(hold.read(STATE_DIR), cancel=call.cancel, timeout=30).text)
    if held is not None:
        raise StepFailed(
            f"a hold keeps the replay from starting anything on {call.droplet.name}",
            why=f"{held.reason} (run {held.run_id}, {held.left} s left)",
            next="it goes on by itself when the hold is lifted or over; now: opsctl startup",
            code="hold",
        )
    facts = call.facts()
    if not facts.boot.replay:
        return _nothing(facts, call, "Docker starts the stack after a boot: nothing is replayed")
    stack = merged(call, facts)
    first, last = split(facts, stack)
    if not first and not last:
        return _nothing(facts, call, "nothing was up before this boot")
    done = startup(call, Options(only=first, ignore_memory=ignore_memory)) if first else None
    if not last or (done is not None and (done.exit_code or call.dry_run)):
        return done or startup(call, Options(only=last, ignore_memory=ignore_memory))
    # A run of its own in journal and audit.
    call = replace(call, entry=replace(call.entry, run_id=f"{call.entry.run_id}b"))
    return startup(
        replace(call, facts=lambda: call.engine.facts(cancel=call.cancel)),
        Options(only=last, ignore_memory=ignore_memory),
    )


def split(facts: DropletFacts, stack: Stack) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is to be up and still is in the stack: with a phase, and without one."""
    names = [name for name in facts.boot.up if name in stack.services and name in facts.compose]
    return _phased(stack, names, True), _phased(stack, names, False)


def _phased(stack: Stack, names: Sequence[str], phased: bool) -> tuple[str, ...]:
    return tuple(name for name in names if (stack.services[name].phase is not None) is phased)


def _nothing(facts: DropletFacts, call: Call, note: str) -> DropletResult[Changed]:
    plan = {"schema": "opsctl.plan/1", "id": "", "command": "host replay", "steps": []}
    memory = facts.memory
    changed = Changed(call.dry_run, plan, (note,), (), None, memory.total, memory.available)
    return DropletResult(call.droplet.name, changed)
