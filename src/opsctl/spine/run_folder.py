"""The folders in which runs of migrations are kept on this machine: 0700, their files 0600."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.jsonable import to_jsonable
from opsctl.model.migrate import Counts, Described, Progress, Receipt, digest
from opsctl.model.migrate_shown import RunRecord, RunShown
from opsctl.spine.journal import state_home
from opsctl.spine.processes import born

T = TypeVar("T")
GIVEN = "OPSCTL_MIGRATION_RUN"  # the id that a run on a droplet is to have


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, run_id: str, root: Path | None = None) -> RunFolder:
        """The folder of a run, whether it is there or not."""
        return cls((root or migrations()) / run_id)

    @classmethod
    def create(cls, run_id: str, root: Path | None = None) -> RunFolder:
        """A new one. Raises StepFailed when it cannot be made."""
        where = root or migrations()
        try:
            for each in (where.parent, where, where / run_id):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            (where / run_id).chmod(0o700)
        except OSError as error:
            raise _unwritable(where / run_id, error) from None
        return cls(where / run_id)

    def write(self, name: str, value: object) -> None:
        """Put a JSON file there, whole or not at all. Raises StepFailed."""
        path = self.path / name
        data = json.dumps(to_jsonable(value), ensure_ascii=False, indent=1).encode() + b"\n"
        fresh = path.with_name(f".{name}.{os.getpid()}")
        try:
            number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(number, "wb") as file:
                file.write(data)
            fresh.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from None

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file; None where there is none that can be read."""
        try:
            found = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def record(self) -> RunRecord | None:
        """What began the run."""
        found = self.read("run.json")
        return made(RunRecord, found) if found and found.get("migration") else None

    def progress(self) -> Progress | None:
        """How far it said it is."""
        found = self.read("progress.json")
        return progress_of(found) if found else None

    def receipt(self) -> Receipt | None:
        """What it proved."""
        found = self.read("receipt.json")
        return receipt_of(found) if found else None

    def control(self, word: str) -> None:
        """Tell whoever works: `pause` or `run`. Raises StepFailed."""
        path = self.path / "control"
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(number, "w") as file:
                file.write(word)
        except OSError as error:
            raise _unwritable(path, error) from None

    @property
    def told(self) -> str:
        """What the control file says; `run` where there is none."""
        try:
            return (self.path / "control").read_text().strip() or "run"
        except OSError:
            return "run"


def made(kind: type[T], found: Mapping[str, Any]) -> T:
    """A dataclass from JSON that another version may have written: what it does not know is left out."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: tuple(each) if isinstance(each, list) else each for key, each in found.items() if key in known})


def progress_of(found: Mapping[str, Any]) -> Progress:
    """A progress from its JSON."""
    return made(Progress, {**found, "counts": made(Counts, found.get("counts") or {})})


def receipt_of(found: Mapping[str, Any]) -> Receipt:
    """A receipt from its JSON."""
    sides = {side: made(Described, found[side]) for side in ("source", "sink")}
    return made(Receipt, {**found, "counts": made(Counts, found["counts"]), **sides})


def shown_of(found: Mapping[str, Any]) -> RunShown:
    """What another machine's opsctl shows of a run, from its JSON."""
    progress, receipt = found.get("progress"), found.get("receipt")
    inner = {"progress": progress and progress_of(progress), "receipt": receipt and receipt_of(receipt)}
    return made(RunShown, {**found, **inner})


def migrations() -> Path:
    """Where this machine keeps its runs."""
    return state_home() / "migrations"


def ledger(migration: str, source: str, sink: str, options: Mapping[str, str], root: Path | None = None) -> Path:
    """The ledger of all runs that move the same things: of one migration between the same two stores."""
    parts = [migration, source, sink, *(f"{key}={value}" for key, value in sorted(options.items()))]
    name = digest(*(each.encode() for each in parts)).hex()
    return (root or migrations()) / "ledgers" / f"{migration}-{name[:16]}.sqlite"


def every(root: Path | None = None) -> tuple[RunFolder, ...]:
    """All runs, the newest first: their ids begin with their time."""
    where = root or migrations()
    with suppress(OSError):
        found = [each for each in where.iterdir() if (each / "run.json").is_file()]
        return tuple(RunFolder(each) for each in sorted(found, key=lambda each: each.name, reverse=True))
    return ()


def find(wanted: str, root: Path | None = None) -> RunFolder:
    """The run that a unique beginning of its id, or `last`, means. Raises UsageError."""
    known = every(root)
    if wanted == "last" and known:
        return known[0]
    found = [each for each in known if wanted and each.path.name.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not known:
        raise UsageError("no migration has run on this machine", next="opsctl migrate list")
    shown = ", ".join(each.path.name for each in (found or known)[:5])
    raise UsageError(
        f"{len(found)} runs begin with {wanted!r}" if found else f"no run begins with {wanted!r}",
        why=f"there is {shown}",
        next="opsctl migrate status",
    )


def this_process() -> tuple[int, str]:
    """This process's number, and when it was born."""
    return os.getpid(), born(os.getpid())


def lives(record: RunRecord) -> bool:
    """Whether the process that works on a run is there still."""
    return bool(record.pid) and bool(record.born) and born(record.pid) == record.born


def _unwritable(path: Path, error: OSError) -> StepFailed:
    return StepFailed(
        f"{path} cannot be written",
        why=error.strerror or str(error),
        next=f"df -h {path.parent}; ls -ld {path.parent}",
        code="no-run-folder",
    )
