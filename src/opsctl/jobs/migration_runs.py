"""The runs of migrations on this machine: what became of each, and what one may do with it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, Interrupted, OpsError, UsageError
from opsctl.model.migrate import Progress, Receipt
from opsctl.model.migrate_shown import RunControlled, RunRecord, RunShown
from opsctl.spine.run_folder import RunFolder, every, lives

WORKING = ("running", "paused", "waiting", "draining")
CUT_SHORT = ("interrupted", "stopped", "failed")
_LOOK_EVERY = 0.5  # seconds


def listed(most: int) -> tuple[RunShown, ...]:
    """The newest runs."""
    return tuple(shown(each) for each in every()[:most])


def shown(folder: RunFolder) -> RunShown:
    """What is known of a run now."""
    record = folder.record() or RunRecord(folder.path.name, "?", (), "", "", "", "", "", "")
    progress, receipt = folder.progress(), folder.receipt()
    state = _state(folder, record, progress, receipt)
    return RunShown(
        run_id=record.run_id,
        migration=record.migration,
        state=state,
        action=record.action,
        started=record.started,
        source=record.source,
        sink=record.sink,
        folder=str(folder.path),
        sealed=record.sealed,
        progress=progress if state in WORKING else None,
        receipt=receipt,
        error=record.error,
        next=following(record.run_id, state, receipt.left if receipt is not None else {}, record.argv),
    )


def _state(folder: RunFolder, record: RunRecord, progress: Progress | None, receipt: Receipt | None) -> str:
    if lives(record):
        said = progress.state if progress is not None and progress.state in WORKING else "running"
        return "paused" if said == "running" and folder.told == "pause" else said
    if record.pid:
        return "interrupted"
    if record.error:
        return "stopped" if record.code == Interrupted.code else "failed"
    return receipt.outcome if receipt is not None else "failed"


def following(run: str, state: str, left: Iterable[str] = (), argv: Sequence[str] = ()) -> tuple[str, ...]:
    """What one may type next. What was cut short is gone on with by `resume`, whatever it was.

    After a rollback: those of the runs that wrote what it left in the sink, and how the run was begun, to copy anew.
    """
    if state == "rolled-back":
        others = [f"opsctl migrate rollback {each}" for each in left if RunFolder.of(each).path.is_dir()]
        words = [each for each in argv if each != "--json"]
        return (*others, *([shlex.join(["opsctl", *words])] if words else []))
    verbs = {
        "complete": ("finish", "rollback"),
        "partial": ("replay", "finish", "rollback"),
        "finished": ("rollback",),
        "paused": ("resume", "attach"),
    }.get(state, ("attach", "pause") if state in WORKING else ("resume",))
    return tuple(f"opsctl migrate {word} {run}" for word in verbs)


def exit_code(run: RunShown) -> ExitCode:
    """What a run's own process ends with."""
    codes = {"partial": ExitCode.PARTIAL, "stopped": ExitCode.INTERRUPTED}
    return codes.get(run.state, ExitCode.FAILED if run.state in ("failed", "interrupted") else ExitCode.DONE)


def follow(folder: RunFolder, report: Callable[[Progress], None], *, cancel: Cancel) -> RunShown:
    """Report a run's progress until its process has ended. Raises Interrupted, and the run goes on."""
    while True:
        now = shown(folder)
        if now.progress is not None:
            report(now.progress)
        if now.state not in WORKING:
            return now
        if cancel.wait(_LOOK_EVERY):
            raise Interrupted(
                "stopped watching; the run goes on",
                signum=cancel.signum,
                next=f"opsctl migrate attach {now.run_id}",
            )


def control(folder: RunFolder, word: Literal["pause", "run"]) -> RunControlled:
    """Tell a run to wait between two batches, or to go on. Raises UsageError when it does not work."""
    now = shown(folder)
    if now.state not in WORKING:
        raise UsageError(
            f"{now.run_id} does not work now",
            why=f"it is {now.state}",
            next=next(iter(now.next), f"opsctl migrate status {now.run_id}"),
        )
    folder.control(word)
    return RunControlled(now.run_id, word)


def at_rest(folder: RunFolder, action: str) -> RunRecord:
    """The record of a run that nobody works on, this process being in the folder in which it was begun.

    Raises UsageError for one that works still or whose end leaves nothing to do, OpsError where the folder is gone.
    """
    now, record = shown(folder), folder.record()
    if record is None or not record.argv:
        raise UsageError(f"{folder.path.name} is no run that can be gone on with", next="opsctl migrate list")
    if now.state in WORKING:
        raise UsageError(
            f"{now.run_id} works still", why=f"process {record.pid}", next=f"opsctl migrate attach {now.run_id}"
        )
    _refuse(now, action, shlex.join(["opsctl", *record.argv]))
    try:
        # Paths among its words mean what they meant.
        os.chdir(record.cwd)
    except OSError as error:
        raise OpsError(
            f"the folder in which {now.run_id} was begun cannot be entered",
            why=f"{record.cwd}: {error.strerror}",
            next=f"mkdir -p {record.cwd}",
        ) from None
    _check_stack(record)
    return record


def _refuse(now: RunShown, action: str, again: str) -> None:
    whole = now.state in ("complete", "partial", "finished") or now.action in ("finish", "replay")
    if action == "finish" and not whole:
        raise UsageError(
            f"{now.run_id} is {now.state}, and cannot be finished",
            why="only what a whole run has verified is deleted",
            next=next(iter(now.next), f"opsctl migrate status {now.run_id}"),
        )
    if action in ("run", "finish", "replay") and now.state == "rolled-back":
        raise UsageError(f"{now.run_id} was rolled back", why="what it wrote was taken back", next=again)


def _check_stack(record: RunRecord) -> None:
    if record.stack and not Path(record.stack).is_file():
        raise OpsError(
            f"the stack file of {record.run_id} is gone",
            why=f"{record.stack} named its stores",
            next=f"ls {Path(record.stack).parent}",
        )
