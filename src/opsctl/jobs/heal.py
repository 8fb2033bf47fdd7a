"""Starts again what crashed or is unhealthy: gated, with back-off and a limit, and never against a hold."""

from __future__ import annotations

import threading
from dataclasses import replace

from opsctl.jobs import heal_plan
from opsctl.jobs.call import STATE_DIR, Call
from opsctl.jobs.heal_plan import Try
from opsctl.jobs.startup import execute, find_sql, merged
from opsctl.jobs.startup_plan import Planned
from opsctl.jobs.why_times import seconds_of
from opsctl.model.errors import ExitCode, GateFailed, StepFailed
from opsctl.model.events import Outcome
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Plan
from opsctl.model.ports import Script
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed
from opsctl.spine import hold
from opsctl.spine.batch import Batch, Handler

FILE = f"{STATE_DIR}/heal.json"
# $1 heal.json, $2 audit. The last line is when somebody last worked on what runs there, "" where nobody did.
_READ = r"""
date +%s; printf '%s\n' "$(cat -- "$1" 2>/dev/null)"
tail -n 500 -- "$2" 2>/dev/null |
  grep -E '"event":"begin".*"name":"(startup|restart|deploy|rollback|recover|playbook)"' |
  sed -n '$s/^{"at":"\([^"]*\)".*/\1/p'
exit 0
"""
_WRITE = r"""
umask 002
mkdir -p -- "${1%/*}" && printf '%s\n' "$2" >"$1.new" && mv -f -- "$1.new" "$1"
"""


def heal(call: Call) -> DropletResult[Changed]:
    """Look, and start again what is due; nothing sick changes nothing. GATE where something was given up."""
    held = hold.parse(call.host.run(hold.read(call.state_dir), cancel=call.cancel, timeout=30).text)
    facts = call.facts()
    if held is not None:
        return _nothing(call, facts, (f"stands aside: {held.reason} ({held.left} s left, run {held.run_id})",))
    script = Script(_READ, (FILE, f"{call.state_dir}/audit.jsonl"))
    clock, text, by_hand = call.host.run(script, cancel=call.cancel, timeout=30).text.split("\n")[:3]
    # Whoever worked there may have mended it: what was tried before counts no more.
    now, known = float(clock), heal_plan.since(heal_plan.parse(text), seconds_of(by_hand) or 0.0)
    stack = merged(call, facts)
    sick, notes = heal_plan.find(facts, stack, known, now)
    said = (*heal_plan.words(sick), *notes)
    planned = heal_plan.plan_heal(facts, stack, call.droplet, sick, now, find_sql=lambda name: find_sql(stack, name))
    if not planned.plan.steps:
        done = _nothing(call, facts, said or ("nothing is sick",))
    else:
        recent = {each.service: each.tries for each in sick if each.tries}
        planned = replace(planned, notes=(*said, *planned.notes))
        done = execute(call, planned, facts, stack, more={Try.kind: _handler(dict(recent))})
    lost = [each.service for each in sick if each.given_up]
    if lost and not done.exit_code and not call.dry_run:
        error = GateFailed(
            f"{', '.join(lost)}: given up",
            why=f"started again {heal_plan.LIMIT} times within an hour, and still not well",
            next=f"opsctl why {lost[0]}   # then: opsctl restart {lost[0]}",
            code="given-up",
        )
        return DropletResult(done.name, done.result, error.info, ExitCode.GATE)
    return done


def _nothing(call: Call, facts: DropletFacts, notes: tuple[str, ...]) -> DropletResult[Changed]:
    planned = Planned(Plan("heal", ()), notes)
    changed = Changed(call.dry_run, planned.plan.to_json(), notes, (), None, facts.memory.total, facts.memory.available)
    return DropletResult(call.droplet.name, changed)


def _handler(tries: dict[str, tuple[float, ...]]) -> Handler:
    """Writes tries down as they are made; the services that are well by now are left out."""
    lock = threading.Lock()

    def run(batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Try)
        with lock:
            tries[action.service] = action.tries
            answer = batch.change(Script(_WRITE, (FILE, heal_plan.to_text(tries))), timeout=30)
        if answer.code != 0:
            raise StepFailed(
                f"{FILE} cannot be written, and so nothing is started again",
                why=answer.error_text or f"exit status {answer.code}",
                next="opsctl doctor",
            )
        batch.done(step, Outcome.CHANGED, f"try {len(action.tries)} of {heal_plan.LIMIT}")

    return Handler(run)
