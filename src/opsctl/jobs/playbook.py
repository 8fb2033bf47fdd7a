"""Runs, resumes and takes back playbooks: what is checked before the first step, and what is kept of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opsctl.jobs.playbook_checks import Checks, Reveal
from opsctl.jobs.playbook_dry import simulate, simulate_rollback
from opsctl.jobs.playbook_jobs import JOBS, SPECS
from opsctl.jobs.playbook_keeper import Keeper
from opsctl.jobs.playbook_place import Place
from opsctl.jobs.playbook_run import Ask, Finished, Forward, roll_back
from opsctl.jobs.playbook_step import Desk, Places
from opsctl.jobs.playbook_store import LIST, Store, check_name, recent, recent_here
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, OpsError, UnreachableError, UsageError
from opsctl.model.playbook import Check, Parameter, Playbook, PlayStep, Variable
from opsctl.model.playbook_format import CHECKS
from opsctl.model.playbook_read import error_of, read_playbook
from opsctl.model.playbook_run import ListedRun, Mode, Past, State
from opsctl.model.playbook_values import Hidden, typed
from opsctl.model.ports import Reporter
from opsctl.model.stackfile_problem import Problem, nearest
from opsctl.model.units import show_duration, show_size
from opsctl.spine.audit import Entry

_KNOCK = 5.0  # s
_OVER: tuple[State, ...] = ("done", "rolled back")


@dataclass(frozen=True)
class Setting:
    """In what surroundings a playbook is run."""

    places: Places
    reveal: Reveal
    reporter: Reporter
    cancel: Cancel
    entry: Entry  # its run id is the playbook's run
    state_dir: str
    ask: Ask
    approved: Collection[str]
    droplets: Collection[str]  # what the stack has
    dry_run: bool
    command: Callable[[str, str], str]  # ("resume", run) → the exact command


def given(variables: Mapping[str, Variable], words: Sequence[str], name: str) -> dict[str, Any]:
    """The values of a run, from `NAME=VALUE` words and defaults. Raises UsageError."""
    values: dict[str, Any] = {}
    again = f"opsctl playbook show {name}"
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--var {word}: no value", why="it is written NAME=VALUE", next=again)
        if key not in variables:
            near = nearest(key, variables)
            hint = f' (did you mean "{near}"?)' if near else ""
            known = ", ".join(variables) or "it has no variables"
            raise UsageError(f"the playbook {name} has no variable {key}{hint}", why=f"it has {known}", next=again)
        variable = variables[key]
        if variable.kind == "secret":
            why = f"arguments are seen by everybody on this machine; it is read from ${variable.env}"
            raise UsageError(f"--var {key}: a secret is not given as an argument", why=why, next=again)
        try:
            values[key] = typed(value, Parameter(variable.kind, "", choices=variable.choices))
        except ValueError as error:
            what, _, expected = str(error).partition("; ")
            raise UsageError(f"--var {key}: {what}", why=f"expected {expected}", next=again) from None
    for variable in variables.values():
        if variable.kind == "secret" or variable.name in values:
            continue
        if variable.default is None:
            shown = f"--var {variable.name}=…"
            raise UsageError(
                f"the playbook {name} wants {variable.name} ({variable.kind})",
                why=variable.about or "it has no default",
                next=f"opsctl playbook run {name} {shown}",
            )
        values[variable.name] = variable.default
    return values


def start(setting: Setting, book: Playbook) -> Finished:
    """Run a playbook from its beginning."""
    _check(setting, book)
    desk = _desk(setting, book)
    if setting.dry_run:
        return simulate(desk, "run")
    head = {
        "event": "run",
        "run": setting.entry.run_id,
        "playbook": book.name,
        "title": book.title,
        "file": book.file,
        "digest": book.digest,
        "values": {key: list(each) if isinstance(each, tuple) else each for key, each in book.values.items()},
        "droplet": setting.places("").droplet.name,
        "user": setting.entry.actor.user,
        "from": setting.entry.actor.origin,
        "steps": len(book.steps),
        "text": book.text,
    }
    return _carry_out(setting, desk, "run", head)


def resume(setting: Setting, run: str, lines: Sequence[Mapping[str, Any]]) -> Finished:
    """Go on with a run from where it stands."""
    book = recorded(run, lines)
    past = Past.of(lines)
    if past.state in ("rolling back", "rolled back"):
        raise UsageError(
            f"the run {run} was taken back",
            why="what was taken back is not gone on with",
            next=setting.command("rollback", run)
            if past.state == "rolling back"
            else f"opsctl playbook run {book.name}",
        )
    _check(setting, book)
    desk = _desk(setting, book)
    if setting.dry_run:
        for line in lines:
            desk.past.add(line)
        return simulate(desk, "resume")
    return _carry_out(setting, desk, "resume", None)


def rollback(setting: Setting, run: str, lines: Sequence[Mapping[str, Any]]) -> Finished:
    """Take back what a run did, the latest step first."""
    book = recorded(run, lines)
    _check(setting, book)
    desk = _desk(setting, book, verb="rollback")
    if setting.dry_run:
        for line in lines:
            desk.past.add(line)
        return simulate_rollback(desk)
    return _carry_out(setting, desk, "rollback", None)


def recorded(run: str, lines: Sequence[Mapping[str, Any]]) -> Playbook:
    """The playbook as it was when the run began: what was approved is what is gone on with."""
    head = Past.of(lines).head
    if not head:
        raise UsageError(f"there is no run {run}", why="neither the droplet nor this machine knows it", next=LIST)
    values = {key: tuple(each) if isinstance(each, list) else each for key, each in head["values"].items()}
    return read_playbook(head["text"], name=head["playbook"], file=head["file"], jobs=SPECS, values=values)


def find(place: Place, wanted: str, mode: Mode, state_dir: str) -> tuple[str, list[dict[str, Any]]]:
    """A run by its name, else the last one that can be resumed or taken back. Raises UsageError."""
    if wanted:
        wanted = check_name(wanted)
        store = Store(wanted, state_dir)
        store.load(place.reads if _answers(place) else None, place.cancel)
        if not store.lines:
            near = f"{place.droplet.name} does not know it"
            raise UsageError(f"there is no run {wanted}", why=near, next=LIST)
        return wanted, store.lines
    for run, lines in runs(place, state_dir):
        past = Past.of(lines)
        if past.head and (past.state not in _OVER if mode == "resume" else past.candidates):
            return run, lines
    what = "is there to go on with" if mode == "resume" else "has anything to take back"
    raise UsageError(f"no run of a playbook {what} on {place.droplet.name}", next=LIST)


def runs(place: Place, state_dir: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """The runs that the droplet remembers, else those that this machine does."""
    if _answers(place):
        return recent(place.reads, state_dir, place.cancel)
    name = place.droplet.name
    return [(run, lines) for run, lines in recent_here() if Past.of(lines).head.get("droplet") == name]


def _answers(place: Place) -> bool:
    return place.knock(place.cancel.child(_KNOCK))


def listed(found: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> tuple[ListedRun, ...]:
    """Runs in a few words."""
    result = []
    for run, lines in found:
        past = Past.of(lines)
        head = past.head
        if head:
            done = sum(1 for each in past.ended.values() if each in ("changed", "unchanged", "approved", "skipped"))
            by = f"{head.get('user', '')} from {head.get('from', '')}"
            result.append(
                ListedRun(run, head["playbook"], past.state, head.get("at", ""), by, done, int(head.get("steps", 0)))
            )
    return tuple(result)


# What happens around the steps


def _desk(setting: Setting, book: Playbook, *, verb: str = "resume") -> Desk:
    past = Past()
    names = sorted({step.droplet for step in book.steps if step.droplet and step.call})
    home = setting.places("")
    keeper = Keeper(
        home,
        lambda: [setting.places(name) for name in names if name != home.droplet.name],
        Store(setting.entry.run_id, setting.state_dir),
        past,
        replace(setting.entry, plan_id=book.digest),
        setting.reporter,
        state_dir=setting.state_dir,
        may_be_down=book.may_be_down,
    )
    return Desk(
        playbook=book,
        run=setting.entry.run_id,
        places=setting.places,
        jobs=JOBS,
        checks=Checks(JOBS, setting.reveal, began=lambda: past.began, away=book.may_be_down),
        keeper=keeper,
        past=past,
        reporter=setting.reporter,
        cancel=setting.cancel,
        again=setting.command(verb, setting.entry.run_id),
        back=setting.command("rollback", setting.entry.run_id),
    )


def _carry_out(setting: Setting, desk: Desk, mode: Mode, head: Mapping[str, Any] | None) -> Finished:
    began = time.monotonic()
    code, error = ExitCode.FAILED, None
    setting.places("").patiently(desk.keeper.take)
    try:
        desk.keeper.load()
        if head is not None:
            desk.keeper.write(**head)
        desk.keeper.write(event="state", state="rolling back" if mode == "rollback" else "running")
        actor = (setting.entry.actor.user, setting.entry.actor.origin)
        done = (
            roll_back(desk)
            if mode == "rollback"
            else Forward(desk, ask=setting.ask, approved=setting.approved, actor=actor, mode=mode).run()
        )
        code, error = done.exit_code, done.error
        desk.keeper.write(event="state", state=done.report.state)
    except OpsError as failure:
        code, error = failure.exit_code, failure.info
        raise
    finally:
        desk.keeper.end(code, error, time.monotonic() - began)
    return done


# What is checked before the first step


def _check(setting: Setting, book: Playbook) -> None:
    """Raise for what the file alone could not tell: droplets, services, approvals, secrets."""
    questions = [step.id for step in book.steps if step.approve]
    for name in setting.approved:
        if name not in questions:
            known = f"it asks in {', '.join(questions)}" if questions else "it asks nothing"
            again = f"opsctl playbook show {book.name}"
            raise UsageError(f"--approve {name}: no such question in {book.name}", why=known, next=again)
    for variable in book.variables.values():
        if variable.kind == "secret":
            setting.reveal(variable.env)
    problems = [
        _problem(
            book, step.line, f"step {step.id}: the stack has no droplet {step.droplet}", setting.droplets, step.droplet
        )
        for step in book.steps
        if step.droplet and step.droplet not in setting.droplets
    ]
    if problems:
        raise error_of(problems, book.name)
    for droplet in dict.fromkeys(step.droplet for step in book.steps):
        place = setting.places(droplet)
        if book.may_be_down and not _answers(place):
            continue
        try:
            facts = place.facts()
        except UnreachableError:
            if book.may_be_down:
                continue
            raise
        there = {*place.merged(facts).services, *facts.compose}
        for step in (each for each in book.steps if each.droplet == droplet):
            problems += [
                _problem(book, line, f"step {step.id}: {place.droplet.name} has no service {name}", there, name)
                for line, name in _services(step)
                if name not in there
            ]
    if problems:
        raise error_of(problems, book.name)


def _problem(book: Playbook, line: int, what: str, known: Collection[str], word: str) -> Problem:
    return Problem(book.file, (), line, what, f"one of {', '.join(sorted(known))}", nearest(word, known))


def _services(step: PlayStep) -> Iterable[tuple[int, str]]:
    """Every service that a step names, with the line."""
    checks: list[Check] = [*step.precondition, *step.probe]
    calls = [step.call] if step.call else []
    if step.undo:
        checks += step.undo.probe
        calls.append(step.undo.call)
    takes = [(check.line, check.values, CHECKS.get(check.kind, {})) for check in checks]
    takes += [(call.line, call.arguments, SPECS[call.job].parameters) for call in calls]
    for line, values, parameters in takes:
        for key, value in values.items():
            kind = parameters[key].kind if key in parameters else ""
            if kind == "service" and isinstance(value, str):
                yield line, value
            elif kind == "services" and isinstance(value, tuple):
                yield from ((line, name) for name in value)


def secret_names(book: Playbook) -> tuple[str, ...]:
    """The environment's variables that a playbook reads."""
    return tuple(each.env for each in book.variables.values() if each.kind == "secret")


def shown_value(variable: Variable) -> str:
    """A variable's default, as a person reads it."""
    value = variable.default
    if variable.kind == "secret":
        return str(Hidden(variable.env))
    if value is None:
        return ""
    if variable.kind in ("size", "duration"):
        return show_size(value) if variable.kind == "size" else show_duration(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
