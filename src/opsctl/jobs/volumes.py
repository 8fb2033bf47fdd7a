"""A named volume moves to a folder of the host, or back: copied in use, proved while nobody writes, then switched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from opsctl.jobs.call import Call, carry_out
from opsctl.jobs.deploy import error_of, release_id, without_gone
from opsctl.jobs.deploy_options import DeployPlan, Options
from opsctl.jobs.deploy_plan import plan_deploy
from opsctl.jobs.deploy_refuse import refuse_project, refuse_volumes
from opsctl.jobs.deploy_tidy import tidied
from opsctl.jobs.startup import check_commands, check_engine, find_sql, merged
from opsctl.jobs.startup_report import report
from opsctl.jobs.volumes_actions import RemoveVolume
from opsctl.jobs.volumes_edit import diff, with_source
from opsctl.jobs.volumes_find import Wish, find, sources, volume_name
from opsctl.jobs.volumes_look import look
from opsctl.jobs.volumes_plan import COMMAND, Moving, plan_copy, plan_move
from opsctl.jobs.volumes_refuse import check_path, refuse_place, refuse_space, refuse_target, refuse_users
from opsctl.jobs.volumes_steps import VolumeOperations, undone_by
from opsctl.model.cancel import Cancel
from opsctl.model.deploy import Bundle, Deployer, Source, Survey
from opsctl.model.errors import ErrorInfo, ExitCode, Interrupted, OpsError, StepFailed, UsageError
from opsctl.model.events import Outcome
from opsctl.model.plan import Plan, Step
from opsctl.model.result import DropletResult
from opsctl.model.run import Changed, RunResult
from opsctl.model.volumes import VolumeFacts, VolumeMoved

_READ = 30.0  # s
_AGAIN = 120.0  # s; what was stopped is started again also after Ctrl-C
_NOTHING = Options()


@dataclass(frozen=True)
class Edit:
    """The compose file's text before and after; `path` is "" where nothing has to be changed."""

    path: str = ""
    before: str = ""
    after: str = ""

    @property
    def source(self) -> Source:
        """What a deploy is to bring to the droplet."""
        return Source("push", bundle=Bundle({self.path: (self.after.encode(), 0)}, origin=f"by {COMMAND}"))


def move(call: Call, key: str, path: str, *, back: bool, switch: bool, options: Options) -> DropletResult[VolumeMoved]:
    """Copy a volume's data to `path` or back; with `switch` change the compose file and recreate its service, too.

    Raises UsageError, StepFailed and ConfigError for what must not be done, before anything is.
    """
    engine = cast(Deployer, call.engine)
    if path or not back:
        check_path(path)
    now = tidied(engine.survey(Source("place"), cancel=call.cancel))
    wish, facts = _wished(call, now, Wish(key, volume_name(now, key), path, back, switch))
    found = find(now, facts, wish)
    refuse_place(facts, wish, now.facts.engine.root_dir)
    refuse_users(facts, wish, now.facts.project, found)
    moving = Moving(wish, facts, found, now.facts, merged(without_gone(call, now)[0], now.facts))
    if moving.needed:
        refuse_target(facts, wish)
        refuse_space(*((facts.host, facts.volume) if back else (facts.volume, facts.host)))
    edit = _edit(call, now, moving)
    if not switch:
        return _carry(call, moving, plan_copy(moving), now, edit, None)
    then = tidied(engine.survey(edit.source, cancel=call.cancel)) if edit.path else now
    made = _deploy(call, then, moving, edit, options)
    return _carry(call, moving, plan_move(moving, made.planned.plan.steps), then, edit, made)


def remove(call: Call, key: str, confirmed: Sequence[str]) -> DropletResult[VolumeMoved]:
    """Remove the volume that was left behind by a move; `confirmed` has its name, typed. Raises OpsError."""
    engine = cast(Deployer, call.engine)
    now = engine.survey(Source("place"), cancel=call.cancel)
    wish, facts = _wished(call, now, Wish(key, volume_name(now, key), ""))
    record = facts.record
    if record is None or record.phase != "moved" or not facts.exists:
        raise OpsError(
            f"{wish.name} is no volume that was left behind",
            why="opsctl has not moved its data away" if record is None else f"its last move is: {record.phase}",
            next=f"opsctl migrate volumes-to-host {key} --to /opt/stack/data/{key} --dry-run",
            code="not-left",
        )
    if facts.mounting:
        why = f"{facts.mounting[0].name} mounts it"
        raise OpsError(f"{wish.name} is in use", why=why, next="opsctl status", code="volume-used")
    if wish.name not in confirmed and not call.dry_run:
        why = f"{confirmed[0]} is not its name" if confirmed else "what is in it is gone then, and --back with it"
        retry = f"opsctl migrate volumes-to-host {key} --finish --confirm {wish.name}"
        raise UsageError(f"the removal of the volume {wish.name} wants its name", why=why, next=retry)
    step = Step("volume-remove", f"remove the volume {wish.name}", RemoveVolume(wish.name), destructive=True)
    found = find(now, facts, wish)
    moving = Moving(wish, facts, found, now.facts, merged(without_gone(call, now)[0], now.facts))
    return _carry(call, moving, Plan(COMMAND, (step,)), now, Edit(), None)


def _wished(call: Call, now: Survey, wish: Wish) -> tuple[Wish, VolumeFacts]:
    """What is asked for, with the folder that opsctl remembers where none is named. Raises UsageError."""
    socket = now.facts.engine.socket
    facts = look(
        call.host,
        wish.name,
        wish.path.rstrip("/"),
        socket=socket if socket.startswith("/") else "",
        state_dir=call.state_dir,
        cancel=call.cancel,
    )
    if not facts.host.path:
        raise UsageError(
            f"opsctl has moved nothing of {wish.name} on {call.droplet.name}",
            why="there is no record of it",
            next=f"opsctl migrate volumes-to-host {wish.key} --to /opt/stack/data/{wish.key} --dry-run",
        )
    return replace(wish, path=facts.host.path), facts


# The compose file


def _edit(call: Call, now: Survey, moving: Moving) -> Edit:
    """What changes in which compose file. Raises ConfigError where it cannot be changed in place."""
    wish = moving.wish
    used = sources(now.model, wish)
    wrong = [name for name, places in used.items() if places != {wish.towards}]
    if not wrong:
        return Edit()
    old, new = (wish.path, wish.key) if wish.back else (wish.key, wish.path)
    for path in now.facts.compose_files:
        text = call.host.get(path, cancel=call.cancel, timeout=_READ).decode(errors="surrogateescape")
        after = with_source(text, wrong, old, new)
        if after is not None:
            return Edit(path, text, after)
    raise StepFailed(
        f"the mount of {old} in {', '.join(wrong)} cannot be changed in place",
        why="it is written with a variable, an alias, or options that only volumes have",
        next=f"change it yourself to {new}, then: {call.entry.command}",
        code="not-editable",
    )


def _deploy(call: Call, then: Survey, moving: Moving, edit: Edit, options: Options) -> DeployPlan:
    """What a deploy of the changed file would do with the services that use the data, and with nothing else."""
    wish, users = moving.wish, moving.found.users
    previous = str(then.old_model.get("name") or "")
    running = any(each.project == previous for each in then.facts.containers)
    refuse_project(then, previous if running else "")
    refuse_volumes(then)
    left = [name for name, places in sources(then.model, wish).items() if places != {wish.towards}]
    if left:
        raise StepFailed(f"{left[0]} would not use the new place", why="its mount is not in the file that changes")
    known, _ = without_gone(call, then)
    stack = merged(known, then.facts)
    own = replace(stack, services={name: each for name, each in stack.services.items() if name in users})
    source = edit.source if edit.path else Source("place")
    made = plan_deploy(
        then,
        own,
        call.droplet,
        source,
        options,
        command=COMMAND,
        find_sql=lambda name: find_sql(stack, name),
        again=call.entry.command,
    )
    others = [name for name in made.facts_services if name not in users]
    if others:
        raise StepFailed(
            f"{', '.join(others)} differ from the compose file, too",
            why="a move recreates nothing but the service whose data it moves",
            next="opsctl deploy",
            code="drift",
        )
    check_commands(call, made.planned)
    check_engine(then.facts.engine, call.droplet.name)
    return made


# Carrying it out


def _carry(
    call: Call, moving: Moving, plan: Plan, survey: Survey, edit: Edit, made: DeployPlan | None
) -> DropletResult[VolumeMoved]:
    engine = cast(Deployer, call.engine)
    notes = _notes(moving, made)
    if call.dry_run or not plan.steps:
        return _result(call, moving, plan, survey, edit, notes, None, None)
    own = replace(call, on_failure="rollback")  # which takes back nothing but the stop
    release = release_id(call.entry.run_id)
    operations = VolumeOperations(
        call, engine, plan, survey.facts, moving.stack, edit.source if edit.path else Source("place"), release
    )
    if edit.path:
        operations.before = Bundle({edit.path: (edit.before.encode(errors="surrogateescape"), 0)})
    changes = any(step.action.kind not in ("keep", "gate") for step in plan.steps)
    run = carry_out(own, plan, operations.handlers(), changes=changes)
    if run.interrupted is not None and operations.stopped is not None and not operations.started:
        _start_again(own, plan, operations)
    return _result(call, moving, plan, survey, edit, notes, run, operations)


def _start_again(call: Call, plan: Plan, operations: VolumeOperations) -> None:
    """After Ctrl-C: what was stopped must not stay so. Under a lease of its own, for the run's is over."""
    entry = replace(call.entry, run_id=f"{call.entry.run_id}-back", command=f"{call.entry.command}   (starting again)")
    own = replace(call, entry=entry, cancel=Cancel(_AGAIN), unfinished=None, on_failure="keep")
    carry_out(own, Plan(COMMAND, undone_by(plan.steps)), operations.handlers(), changes=True)


def _notes(moving: Moving, made: DeployPlan | None) -> tuple[str, ...]:
    wish, notes = moving.wish, list(made.planned.notes if made else ())
    if moving.needed and wish.switch and moving.found.running:
        for name, each in moving.droplet.compose.items():
            known = moving.droplet.of(name)
            depends = [other for other in moving.found.users if other in each.depends_on]
            if name not in moving.found.users and depends and known is not None and known.status == "running":
                notes.append(f"{name} depends on {', '.join(depends)}: it may notice")
    return tuple(dict.fromkeys(notes))


def _result(
    call: Call,
    moving: Moving,
    plan: Plan,
    survey: Survey,
    edit: Edit,
    notes: tuple[str, ...],
    run: RunResult | None,
    operations: VolumeOperations | None,
) -> DropletResult[VolumeMoved]:
    code = run.exit_code if run else ExitCode.DONE
    memory = survey.facts.memory
    available = memory.available
    if operations is not None and code is not ExitCode.UNREACHABLE:
        available = operations.available_now(call.host)
    done = {step.kind for step in run.steps if step.outcome is Outcome.CHANGED} if run else set[str]()
    source, target = moving.ends
    moved = VolumeMoved(
        dry_run=call.dry_run,
        volume=moving.wish.name,
        source=source,
        target=target,
        services=moving.found.users,
        state=_state(call, plan, code),
        file=edit.path,
        change=diff(edit.path, edit.before, edit.after) if edit.path else (),
        downtime=operations.downtime if operations else None,
        sides=operations.sides if operations else (),
        release=operations.release if operations and "finish" in done else "",
        changed=Changed(call.dry_run, plan.to_json(), notes, report(plan, run), run, memory.total, available),
    )
    return DropletResult(call.droplet.name, moved, _error(call, run, operations), code)


def _state(call: Call, plan: Plan, code: ExitCode) -> str:
    if not plan.steps:
        return "unchanged"
    if code is not ExitCode.DONE:
        return "failed"
    kinds = {step.action.kind for step in plan.steps}
    word = "removed" if "volume-remove" in kinds else "moved" if kinds - {"volume-copy"} else "copied"
    return f"would be {word}" if call.dry_run else word


def _error(call: Call, run: RunResult | None, operations: VolumeOperations | None) -> ErrorInfo | None:
    """What to say about a run that failed: where the data is now, and what goes on."""
    if run is None or operations is None or run.exit_code is ExitCode.DONE:
        return None
    if run.interrupted is not None:
        what = "what was stopped has been started again" if operations.stopped and not operations.started else ""
        return Interrupted(
            "interrupted",
            signum=run.interrupted,
            why=what or "what was done so far stays",
            next=f"{call.entry.command}   # goes on",
        ).info
    error = error_of(call, run)
    if error is None or not operations.started:
        return run.error
    words = call.entry.command.replace(" --back", "")
    back = words if "--back" in call.entry.command else f"{words} --back"
    return replace(run.error or error, next=f"{(run.error or error).next}\n{back}   # with what was written since")
