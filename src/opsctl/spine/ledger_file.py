"""The file of a ledger: private, held by one run at a time, and its failures said in words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opsctl.model.errors import LeaseHeld, OpsError

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class LedgerBusy(LeaseHeld):
    """Another run works with this ledger now."""

    code = "ledger-busy"
    scope = "migration"


class DiskFull(OpsError):
    """What must be on the disk before the work goes on does not fit."""

    code = "disk-full"


class LedgerDamaged(OpsError):
    """The file is no ledger, or no longer."""

    code = "ledger-damaged"


class Lock:
    """An exclusive lock beside the ledger; the system frees it when the process dies, however it dies."""

    def __init__(self, path: Path, run_id: str) -> None:
        self._file: int | None = os.open(_beside(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise LedgerBusy(
                "another run migrates between these two stores now",
                why=f"{holder or 'it'} holds {path}",
                next=f"opsctl migrate attach {holder.split(' ')[0]}" if holder else "opsctl migrate status",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{run_id} (pid {os.getpid()})\n".encode(), 0)

    def release(self) -> None:
        """Let it go; safe to call twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def create(path: Path) -> None:
    """Make folder and file private before SQLite makes its own beside it with the same rights."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise OpsError(
            f"the ledger {path} cannot be opened", why=error.strerror or str(error), next=f"ls -ld {path.parent}"
        ) from None


def connect(path: Path, *, cache: int) -> sqlite3.Connection:
    """A connection of a few MB; `cache` in KiB."""
    found = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=32)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"cache_size = -{cache}", "mmap_size = 0"):
        found.execute(f"PRAGMA {pragma}").fetchall()
    return found


def quietly(act: Callable[[], object]) -> None:
    """What is done on the way out of an error that is told already."""
    with suppress(sqlite3.Error):
        act()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: DiskFull, LedgerDamaged, OpsError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _in_words(path, error) from error


def _in_words(path: Path, error: sqlite3.Error) -> OpsError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and no_room(path)):
        return disk_full(path)
    if code in _DAMAGED:
        return LedgerDamaged(
            f"the ledger {path} is damaged",
            why=f"SQLite: {error}; a run without a ledger is slower and leads to the same end",
            next=f"mv {path} {path}.damaged, and run it again",
        )
    return OpsError(
        f"the ledger {path} cannot be used", why=f"SQLite: {error}", next=f"ls -l {path.parent}; df -h {path.parent}"
    )


def disk_full(path: Path) -> DiskFull:
    """What is said when a file of a run cannot grow."""
    return DiskFull(
        f"no room left on the disk of {path}",
        why="every record is written down before it is migrated; nothing is lost, the run stopped where it was",
        next=f"df -h {path.parent}; make room, then the same command again",
    )


def no_room(path: Path) -> bool:
    """Whether the disk has less than a few blocks left."""
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < 64 * 1024
