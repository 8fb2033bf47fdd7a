"""Which folders of past runs may go: those that nothing can need any more, and only when they are old enough."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from opsctl.jobs.migration_runs import CUT_SHORT, WORKING, shown
from opsctl.model.cancel import Cancel
from opsctl.model.errors import LeaseHeld, StepFailed
from opsctl.model.migrate_pruned import Prunable, Pruned
from opsctl.model.migrate_shown import RunRecord, RunShown
from opsctl.model.units import show_duration
from opsctl.spine.run_folder import RunFolder, every

_DAY = 86_400.0  # s
_RUN = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4,}")  # what a run's folder is called
_GOING = re.compile(r"\.(?P<name>.+)\.pruned")  # one whose removal was cut short
_APPS = "app"  # beside the runs of a droplet: the versions of opsctl that were carried there for them

# The lock of a run's ledger: while it is held nobody can go on with one of its runs. Raises LeaseHeld.
Locked = Callable[[RunRecord], AbstractContextManager[None]]


@dataclass(frozen=True)
class _Run:
    """One run, and everything that speaks for keeping it."""

    folder: RunFolder
    record: RunRecord
    now: RunShown
    ended: float  # seconds since 1970


def plan(root: Path, keep_days: float, *, at: float | None = None) -> Pruned:
    """What would be removed from a folder of runs. Changes nothing."""
    now = time.time() if at is None else at
    runs = [_run(each) for each in every(root)]
    newest = _newest(runs)
    judged = [_judged(each, keep_days, now, newest=newest.get(each.record.ledger) == each.now.run_id) for each in runs]
    judged += list(_never_begun(root, keep_days, now))
    judged += list(_apps(root, working=any(each.now.state in WORKING for each in runs)))
    removed = tuple(each for each, goes in judged if goes)
    kept = tuple(each for each, goes in judged if not goes)
    return Pruned(keep_days, removed, kept, sum(each.bytes for each in removed), dry_run=True)


def prune(root: Path, wanted: Pruned, locked: Locked, cancel: Cancel) -> Pruned:
    """Remove what is in the plan, if it still may go. Raises StepFailed where a folder cannot be removed."""
    _clear(root)
    removed: list[Prunable] = []
    kept = list(wanted.kept)
    for each in wanted.removed:
        cancel.check("the removal")
        why = _remove(root, each, wanted.keep_days, locked)
        if why:
            kept.append(replace(each, why=why))
        else:
            removed.append(each)
    return Pruned(wanted.keep_days, tuple(removed), tuple(kept), sum(each.bytes for each in removed))


def _run(folder: RunFolder) -> _Run:
    record = folder.record() or RunRecord(folder.path.name, "?", (), "", "", "", "", "", "")
    now = shown(folder)
    ended = _seconds(now.receipt.ended) if now.receipt is not None else None
    return _Run(folder, record, now, ended if ended is not None else _touched(folder.path))


def _newest(runs: Sequence[_Run]) -> dict[str, str]:
    """The newest run of each ledger that came to an end: a finish would be of this one. The newest come first."""
    found: dict[str, str] = {}
    for each in runs:
        if each.now.state not in (*WORKING, *CUT_SHORT):
            found.setdefault(each.record.ledger, each.now.run_id)
    return found


def _judged(run: _Run, keep_days: float, now: float, *, newest: bool) -> tuple[Prunable, bool]:
    state, ago = run.now.state, now - run.ended
    refused = _lines(run.folder.path / "quarantine.jsonl") if state != "rolled-back" else 0
    age = f"it ended {show_duration(max(0.0, ago))} ago"
    reasons = (
        (state in WORKING, "it works now"),
        (state in CUT_SHORT, f"it has not come to its end: opsctl migrate resume {run.now.run_id}"),
        (refused > 0, f"{refused:,} in quarantine: opsctl migrate replay {run.now.run_id}"),
        (ago < keep_days * _DAY and state == "finished", f"{age}, and its export is the way back from its deletions"),
        (ago < keep_days * _DAY, age),
        (
            newest and state in ("complete", "partial"),
            f"nobody has finished it: opsctl migrate finish {run.now.run_id}",
        ),
    )
    why = next((text for holds, text in reasons if holds), "")
    found = Prunable(
        run.now.run_id,
        "run",
        run.now.migration,
        state,
        _text(run.ended),
        _size(run.folder.path),
        why or age,
    )
    return found, not why


def _never_begun(root: Path, keep_days: float, now: float) -> Iterator[tuple[Prunable, bool]]:
    """Folders of runs that never wrote who they are: on a droplet they hold a stack file and its secrets still."""
    for path in _folders(root):
        if not _RUN.fullmatch(path.name) or (path / "run.json").exists() or (path / "export.jsonl").exists():
            continue
        touched = _touched(path)
        goes = now - touched >= keep_days * _DAY
        ago = show_duration(max(0.0, now - touched))
        yield Prunable(path.name, "run", "", "not begun", _text(touched), _size(path), f"left {ago} ago"), goes


def _apps(root: Path, *, working: bool) -> Iterator[tuple[Prunable, bool]]:
    current = (root / _APPS / "current").resolve().name
    for path in _folders(root / _APPS):
        if path.name.startswith(".") or path.is_symlink():
            continue
        why = "runs there begin with it" if path.name == current else "a run works, maybe with it" if working else ""
        found = Prunable(path.name, "app", "", "", _text(_touched(path)), _size(path), why or "another took its place")
        yield found, not why


def _remove(root: Path, each: Prunable, keep_days: float, locked: Locked) -> str:
    """Remove one, "" when it went; else why it may not go any more."""
    path = root / _APPS / each.name if each.kind == "app" else root / each.name
    record = RunFolder(path).record() if each.kind == "run" else None
    if record is None:
        _away(path)
        return ""
    try:
        with locked(record):
            again, goes = _judged(_run(RunFolder(path)), keep_days, time.time(), newest=False)
            if not goes:
                return again.why
            _away(path)
    except LeaseHeld as error:
        return error.info.what
    return ""


def _away(path: Path) -> None:
    """Another name first: a removal that is cut short leaves no half of a run that looks like a whole one."""
    going = path.with_name(f".{path.name}.pruned")
    try:
        path.rename(going)
        shutil.rmtree(going)
    except OSError as error:
        raise StepFailed(
            f"{path} cannot be removed", why=error.strerror or str(error), next=f"ls -ld {path.parent}"
        ) from None


def _clear(root: Path) -> None:
    for folder in (root, root / _APPS):
        for path in _folders(folder):
            if _GOING.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(each for each in root.iterdir() if each.is_dir() and not each.is_symlink())
    except OSError:
        return []


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


def _size(path: Path) -> int:
    total = 0
    for folder, _names, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                total += (Path(folder) / name).lstat().st_size
    return total


def _touched(path: Path) -> float:
    """When the newest of its own files was written."""
    found = [path.stat().st_mtime]
    for each in path.iterdir():
        with suppress(OSError):
            found.append(each.lstat().st_mtime)
    return max(found)


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
