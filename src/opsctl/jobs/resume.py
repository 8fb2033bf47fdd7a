"""Going on with a run that did not end well: what it had done, compared with what is there now."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsctl.jobs.audit import journal
from opsctl.model.audit import AuditRun, JournalStep
from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.ports import Shell
from opsctl.spine import records
from opsctl.spine.journal import bash_said

LAST = "last"
_TIMEOUT = 20.0  # s
_LINES = 20_000
_GOOD = ("done", "changed", "unchanged")
_ALWAYS = ("memory", "gate", "settle", "keep")  # kinds that are looked at anew each time, whatever was before
RESUMABLE = ("deploy", "restart", "rollback", "startup", "stop")  # the commands that have `--resume`
_PLAIN = {"--json", "--dry-run", "--yes", "-y", "-v", "-vv", "-vvv", "--verbose"}
_VALUED = {"--resume", "--wait", "--stack", "-d", "--droplet", "--confirm"}


@dataclass(frozen=True)
class Unfinished:
    """A run that is to be gone on with, and its steps; `run` is None where there is none on this droplet."""

    run: AuditRun | None
    steps: tuple[JournalStep, ...] = ()
    reason: str = ""  # why there is none
    finished: str = ""  # the run that brought it to its end: a later one of the same, or itself


class OtherOptions(UsageError):
    """The run was called with other options; `run` is that run."""

    def __init__(self, run: AuditRun) -> None:
        super().__init__(
            f"run {run.run} was called with other options",
            why=f"it was: {run.command}",
            next=resuming(_plainly(run.command), run.run),
        )
        self.run = run


def without_resume(command: str) -> str:
    """A command line without its `--resume`."""
    words, kept = shlex.split(command), list[str]()
    skip = False
    for number, word in enumerate(words):
        if skip:
            skip = False
        elif word == "--resume":
            skip = number + 1 < len(words) and is_run_id(words[number + 1])
        elif not word.startswith("--resume="):
            kept.append(word)
    return shlex.join(kept)


def resuming(command: str, run: str) -> str:
    """The command line that goes on with a run: the same options, and which run."""
    words = shlex.split(without_resume(command))
    end = words.index("--") if "--" in words else len(words)
    return shlex.join([*words[:end], "--resume", run, *words[end:]])


def is_run_id(word: str) -> bool:
    """Whether a word is the id of a run (20261120T185312-3f9a1c), or `last`."""
    day, _, rest = word.partition("T")
    return word == LAST or (len(day) == 8 and day.isdigit() and "-" in rest)


def meaning(command: str) -> Counter[str]:
    """The words of a command line that say what is to be done: not where, how loud, or whether to wait."""
    return Counter(_wanted(command))


def adopted(argv: Sequence[str], name: str, run: AuditRun) -> tuple[str, ...] | None:
    """The arguments that go on with a run as it was called, where these say nothing else; None where they do."""
    command, words = _plainly(run.command), name.split()
    here = shlex.split(without_resume(shlex.join(["opsctl", *argv])))[1:]
    said_more = here[: len(words)] != words or _wanted(shlex.join(["opsctl", *here])) != ["opsctl", *words]
    if run.name != name or said_more or "***" in command:
        return None
    return (*_wanted(command)[1:], *here[len(words) :], "--resume", run.run)


def _plainly(command: str) -> str:
    # "opsctl deploy   (rolling back)": what is in brackets is for the audit.
    return command.partition("   (")[0]


def _wanted(command: str) -> list[str]:
    words = [part for word in shlex.split(command) for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    kept, skip = list[str](), False
    for number, word in enumerate(words):
        if skip:
            skip = False
        elif word == "--resume":
            skip = number + 1 < len(words) and is_run_id(words[number + 1])
        elif word in _VALUED:
            skip = True
        elif word not in _PLAIN:
            kept.append(word)
    return kept


def find(
    shell: Shell, *, wanted: str, name: str, command: str, droplet: str, state_dir: str, many: bool, cancel: Cancel
) -> Unfinished:
    """The run that is gone on with: `wanted`, or the last one of this command that did not end well.

    Raises UsageError where there is none, OtherOptions where it was called with others.
    """
    answer = shell.run(records.read(state_dir, _LINES), cancel=cancel, timeout=_TIMEOUT)
    if answer.code != 0:
        raise StepFailed("the droplet's audit cannot be read", why=bash_said(answer.error_text), next="opsctl doctor")
    every = records.runs(answer.text.splitlines())
    run = _named(every, wanted, name, command, droplet, many) if wanted != LAST else _last(every, name, command, many)
    if isinstance(run, str):
        return Unfinished(None, reason=run)
    return Unfinished(run, journal(shell, state_dir, run.run, cancel=cancel), finished=_finished(every, run))


def _finished(every: Sequence[AuditRun], run: AuditRun) -> str:
    """The run that did all that was asked for then; "" where none has."""
    same = [each for each in every if each.name == run.name and not each.under and each.at >= run.at]
    done = [each.run for each in same if each.outcome == "done" and meaning(each.command) == meaning(run.command)]
    return done[-1] if done else ""


def _named(every: Sequence[AuditRun], wanted: str, name: str, command: str, droplet: str, many: bool) -> AuditRun | str:
    found = [each for each in every if each.run == wanted]
    if not found:
        if many:  # it may never have reached this one
            return f"run {wanted} did nothing here"
        raise UsageError(
            f"{droplet} has no run {wanted}",
            why="its audit does not know that run",
            next=without_resume(command),
        )
    _same(found[-1], name, command)
    return found[-1]


def _last(every: Sequence[AuditRun], name: str, command: str, many: bool) -> AuditRun | str:
    ours = [each for each in every if each.name == name and not each.under]
    open_ = list[AuditRun]()
    for each in ours:
        if each.outcome == "done":
            open_ = [other for other in open_ if meaning(other.command) != meaning(each.command)]
        else:
            open_.append(each)
    if not open_:
        if many:
            return f"no run of `opsctl {name}` was cut short here"
        raise UsageError(
            f"there is nothing to resume: no run of `opsctl {name}` was cut short",
            why=f"the last one ended well, at {ours[-1].at}" if ours else "none was ever begun here",
            next=without_resume(command),
        )
    same = [each for each in open_ if meaning(each.command) == meaning(command)]
    run = (same or open_)[-1]
    _same(run, name, command)
    return run


def _same(run: AuditRun, name: str, command: str) -> None:
    """Another plan would be another run: what is resumed is what was asked for then."""
    if run.name != name:
        was = _plainly(run.command)
        raise UsageError(
            f"run {run.run} was `opsctl {run.name}`, not `opsctl {name}`" if run.name else f"run {run.run} was another",
            why=f"it was: {run.command}",
            next=resuming(was, run.run) if run.name in RESUMABLE else was,
        )
    if meaning(_plainly(run.command)) != meaning(command):
        raise OtherOptions(run)


def compare(found: Unfinished, plan: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What to tell about going on: `plan` is the new plan's steps as data, made from what is there now. Pure."""
    if found.run is None:
        return (f"{found.reason}: planned from what is there",)
    run = found.run
    how = {"running": "still running"}.get(run.outcome, run.outcome)
    who = f"{run.user} from {run.origin}, " if run.user else ""
    head = f"resumes run {run.run} ({who}{how}, begun {run.at})"
    todo = [step for step in plan if step["action"]["kind"] != "keep"]
    left = {_key(step) for step in todo}
    was = {(step.id, step.title): step for step in found.steps}  # `create` may mean other containers by now
    lines = []
    if found.finished and all(step["action"]["kind"] in _ALWAYS for step in todo):
        by = "it ended well" if found.finished == run.run else f"run {found.finished} did the rest"
        lines.append(f"{head}: everything is done: {by}, and nothing of it is to be changed now")
    elif not todo:
        lines.append(f"{head}: nothing is left of it, all of it is so already")
    elif all(step["action"]["kind"] in _ALWAYS for step in todo):
        looks = next((step for step in todo if not _only_looks(step, was.get(_key(step)))), todo[-1])
        lines.append(f"{head}: everything is done but to look at it again, as with: {looks['title']}")
    else:
        done = [key for key, step in was.items() if step.ended in _GOOD and key not in left]
        so_far = f"{len(done)} of {len(was)} steps are done" if was else "it wrote no journal"
        first = next((step for step in todo if not _only_looks(step, was.get(_key(step)))), todo[0])
        lines.append(f"{head}: {so_far}; goes on with: {first['title']}{_then(was.get(_key(first)))}")
    again = [
        was[_key(step)].title
        for step in todo
        if _key(step) in was and was[_key(step)].ended in ("done", "changed") and step["action"]["kind"] not in _ALWAYS
    ]
    if again:
        lines.append(f"done then, and not so any more: {', '.join(again)}")
    return tuple(lines)


def _only_looks(step: Mapping[str, Any], before: JournalStep | None) -> bool:
    """Whether it was done then, and is done again only because it changes nothing."""
    return before is not None and before.ended in _GOOD and step["action"]["kind"] in _ALWAYS


def _key(step: Mapping[str, Any]) -> tuple[str, str]:
    return str(step["id"]), str(step["title"])


def _then(before: JournalStep | None) -> str:
    if before is None or before.ended in _GOOD:
        return ""
    how = "failed then" if before.ended == "failed" else "under way then" if before.ended == "under way" else ""
    if before.ended == "skipped" and before.detail == "interrupted":
        how = "under way then"
    return f" ({how})" if how else ""
