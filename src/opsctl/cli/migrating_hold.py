"""One run at a time: a lock beside the ledger, and a lease on each droplet that a store is reached through."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl import __version__
from opsctl.model.errors import ExitCode, LeaseHeld, OpsError, StepFailed

if TYPE_CHECKING:
    from opsctl.cli.stores import Stores
    from opsctl.model.cancel import Cancel
    from opsctl.model.store import Target
    from opsctl.spine.audit import Entry

_LOCAL = "local"  # what a run that goes through no droplet is written down under


@contextmanager
def hold(stores: Stores, ledger: Path, work: Cancel, *, run_id: str, command: str) -> Iterator[None]:
    """Everything that keeps a second run away, and the audit's lines. `work` is cancelled when a lease is lost.

    Raises LeaseBroken then, and LeaseHeld, StepFailed, UnreachableError.
    """
    from opsctl.spine.audit import Actor, Entry

    started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    entry = Entry(run_id, command, "", Actor.current(), started, __version__, name=stores.context.name)
    with ExitStack() as held:
        held.enter_context(locked(ledger, entry))
        through = [each for each in stores.targets.values() if each.via]
        if not through:
            held.enter_context(written_here(entry))
        for target in sorted(through, key=scope_of):
            first = target is _first(through, target.via)
            held.enter_context(_leased(stores, target, entry, work, first=first))
        yield


def scope_of(target: Target) -> str:
    """The lease of a store, as its droplet's files name it."""
    name = f"{target.kind}-{target.identity.partition('!')[2]}"
    return f"data:{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-')}"


def _first(through: list[Target], via: str) -> Target:
    return min((each for each in through if each.via == via), key=scope_of)


@contextmanager
def _leased(stores: Stores, target: Target, entry: Entry, work: Cancel, *, first: bool) -> Iterator[None]:
    from opsctl.jobs.call import STATE_DIR
    from opsctl.model.ports import GuardSpec
    from opsctl.spine.lease import hold as lease
    from opsctl.spine.watch import watched

    session = stores.session(target.via)
    if first:
        with (
            lease(session.host, entry, scope=scope_of(target), state_dir=STATE_DIR, cancel=session.cancel) as held,
            watched(held.guard, work),
        ):
            yield
        return
    # One pair of lines in the audit says it for all the stores of a droplet.
    guard = session.host.guard(GuardSpec(scope_of(target), entry.run_id, entry.holder()), cancel=session.cancel)
    try:
        with watched(guard, work):
            yield
    finally:
        guard.release()


@contextmanager
def written_here(entry: Entry) -> Iterator[None]:
    """The audit's lines of a run that holds no lease of a droplet."""
    from opsctl.spine import local_audit

    local_audit.begin(entry, _LOCAL)
    began, code, detail = time.monotonic(), ExitCode.DONE, ""
    try:
        yield
    except OpsError as error:
        code, detail = error.exit_code, error.info.what
        raise
    except BaseException as error:
        code, detail = ExitCode.BUG, type(error).__name__
        raise
    finally:
        outcome = "interrupted" if code >= ExitCode.HANGUP else "failed" if code else "done"
        seconds = time.monotonic() - began
        local_audit.end(entry.run_id, _LOCAL, outcome=outcome, exit_code=int(code), seconds=seconds, detail=detail)


@contextmanager
def locked(ledger: Path, entry: Entry) -> Iterator[None]:
    """The lock of all runs on this machine that share a ledger; it ends with this process, however that ends.

    Raises LeaseHeld with who has it, StepFailed where it cannot be made.
    """
    path = ledger.with_suffix(".holder")
    try:
        for each in (path.parent.parent, path.parent):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StepFailed(
            f"{path} cannot be written", why=error.strerror or str(error), next=f"ls -ld {path.parent}"
        ) from None
    with os.fdopen(number, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _held(file.read()) from None
        file.truncate()
        json.dump({"run": entry.run_id, "pid": os.getpid(), **entry.holder()}, file)
        file.flush()
        yield


def _held(note: str) -> LeaseHeld:
    try:
        who = json.loads(note)
    except ValueError:
        who = {}
    run = str(who.get("run", "another run"))
    return LeaseHeld(
        f"the same records are being moved by {run}",
        why=f"{who.get('user', 'somebody')} began it at {who.get('started', '?')}, process {who.get('pid', '?')}:"
        f" {who.get('command', '?')}",
        next=f"opsctl migrate attach {run}",
    )
