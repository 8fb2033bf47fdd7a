"""File locks between processes of this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.sandbox.kinds import Progress


@contextmanager
def locked(path: Path, what: str, progress: Progress, cancel: Cancel, *, remove: bool = False) -> Iterator[None]:
    """Hold an exclusive lock; says what it waits for. It ends with this process, however that ends.

    With `remove` the file is gone afterwards, so that nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    said = False
    while (descriptor := _take(path)) is None:
        if not said:
            progress(f"waits for another opsctl that {what}")
            said = True
        cancel.wait(0.2)
        cancel.check(f"the lock of another opsctl that {what}")
    try:
        yield
    finally:
        if remove:
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path) -> int | None:
    """The locked file, or None while somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed it meanwhile: then this is a lock on nothing.
        if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
