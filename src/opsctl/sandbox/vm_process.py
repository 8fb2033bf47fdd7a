"""A process that serves a folder (a machine, the cloud): started once, found by what it holds, ended for certain."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
from pathlib import Path

from opsctl.model.errors import StepFailed

PIDFILE = "vm.pid"
_FLOCK = "@hhqqi4x"  # struct flock of 64-bit Linux


def owner(folder: Path, pidfile: str = PIDFILE) -> int | None:
    """The process that runs the machine of this folder; None when none does.

    QEMU locks its pid file for as long as it lives, the cloud's stand-in too, and the kernel knows who holds a lock:
    unlike a number in a file, this can never mean another process, also not after a crash and after the number was
    given away again.
    """
    try:
        file = os.open(folder / pidfile, os.O_RDONLY)
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    finally:
        os.close(file)
    return None if kind == fcntl.F_UNLCK or pid <= 0 else int(pid)


def kill(folder: Path, pidfile: str = PIDFILE, *, timeout: float = 10.0) -> None:
    """Cut the machine's power and wait until its process is gone; no process is fine.

    Raises StepFailed when the process is still there after `timeout` seconds.
    """
    pid = owner(folder, pidfile)
    if pid is None:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # The handle fixes who is meant; asked again, it is certain that this one is the owner.
        if owner(folder, pidfile) != pid:
            return
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], timeout)[0]:
            raise StepFailed(f"the machine in {folder} does not end", why=f"process {pid} was killed, and is there")
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
