"""opsctl on a droplet: put it there, bring it up to date, say what there is, and leave without a trace."""

from __future__ import annotations

import os
from collections.abc import Mapping

from opsctl.jobs import boot, host_remove
from opsctl.jobs.boot import SetBoot
from opsctl.jobs.call import Call, carry_out
from opsctl.jobs.host_actions import handlers
from opsctl.jobs.host_facts import LINK, HostFacts, look
from opsctl.jobs.host_install import Wanted, configuration, how_to_replay, plan_install, target_of
from opsctl.jobs.startup import check_engine, merged
from opsctl.model.droplet_app import Packer
from opsctl.model.errors import ErrorInfo, ExitCode, Interrupted, OpsError
from opsctl.model.host import HostChanged, HostFile
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Plan
from opsctl.model.result import DropletResult
from opsctl.model.run import RunResult
from opsctl.model.stackfile_droplet import for_droplet
from opsctl.spine.batch import Handler


def install(
    call: Call, packer: Packer, *, upgrade: bool = False, cron: bool = False, environ: Mapping[str, str] | None = None
) -> DropletResult[HostChanged]:
    """Put opsctl there as it is here; what is so already stays. Raises StepFailed, ConfigError, UnreachableError."""
    found = look(call.host, cancel=call.cancel)
    if upgrade and not found.installed:
        raise OpsError(
            f"opsctl is not installed on {call.droplet.name}",
            why="there is nothing to bring up to date",
            next=f"opsctl host install -d {call.droplet.name}",
            code="not-installed",
        )
    files = for_droplet(call.stack, call.droplet, os.environ if environ is None else environ)
    target = target_of(found, call.droplet.name)
    how, notes = how_to_replay(found, call.droplet, cron=cron)
    wanted = Wanted(packer.pack(target, cancel=call.cancel), target, files, how)
    facts = _facts(call, found, replay=bool(how))
    stack = merged(call, facts) if facts else call.stack
    plan = plan_install(
        found, wanted, stack, call.droplet, facts, command="host upgrade" if upgrade else "host install"
    )
    run = _run(call, plan, {**handlers(wanted.bundle, target, files), **_boot(facts)})
    placed = dict(configuration(files).items()) | {LINK: "777"}
    changed = HostChanged(
        dry_run=call.dry_run,
        plan=plan.to_json(),
        notes=(*notes, *files.notes),
        app=wanted.bundle.name,
        packages=dict(wanted.bundle.packages),
        files=tuple(HostFile(path, 0, mode) for path, mode in placed.items()),
        units=tuple(step.action.path for step in plan.steps if hasattr(step.action, "path")),
        run=run,
    )
    return _result(call, changed, run)


def remove(call: Call) -> DropletResult[HostChanged]:
    """Give the old restart policies back and remove what was put there; what remains is plain compose."""
    found = look(call.host, cancel=call.cancel)
    facts = _facts(call, found, replay=False)
    stack = merged(call, facts) if facts else call.stack
    plan = host_remove.plan_remove(found, stack, call.droplet, facts)
    run = _run(call, plan, {**handlers(None, None, None), **_boot(facts)})
    changed = HostChanged(
        dry_run=call.dry_run,
        plan=plan.to_json(),
        notes=(),
        app=found.current.rpartition("/")[2],
        packages={},
        files=tuple(HostFile(each.path, each.size, each.mode) for each in found.files.values()),
        units=tuple(each.name for each in found.units),
        kept=host_remove.kept(found),
        run=run,
    )
    return _result(call, changed, run)


def _facts(call: Call, found: HostFacts, *, replay: bool) -> DropletFacts | None:
    """The containers, where their policies are to be set; else a droplet without Docker will do."""
    if not replay and not found.boot.replay and not found.boot.policies:
        return None
    facts = call.facts()
    check_engine(facts.engine, call.droplet.name)
    return facts


def _boot(facts: DropletFacts | None) -> Mapping[str, Handler]:
    if facts is None:
        return {}

    def ids(name: str) -> str:
        container = facts.of(name)
        return container.id if container else ""

    return {SetBoot.kind: boot.handler(ids, facts.engine.socket)}


def _run(call: Call, plan: Plan, done_by: Mapping[str, Handler]) -> RunResult | None:
    return None if call.dry_run or not plan.steps else carry_out(call, plan, done_by, changes=True)


def _result(call: Call, changed: HostChanged, run: RunResult | None) -> DropletResult[HostChanged]:
    code = run.exit_code if run else ExitCode.DONE
    error: ErrorInfo | None = None
    if run is not None and code is not ExitCode.DONE:
        error = run.error
        if run.interrupted is not None:
            words = {"why": "what was done stays", "next": f"{call.entry.command}   # goes on"}
            error = Interrupted("interrupted", signum=run.interrupted, **words).info
    return DropletResult(call.droplet.name, changed, error, code)
