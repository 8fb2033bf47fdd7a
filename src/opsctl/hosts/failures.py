"""Errors of a connection, in words: what, why, what to type next."""

from __future__ import annotations

import json

from opsctl.model.errors import ConnectionLost, DeadlineExceeded, LeaseBroken, OpsError, UnreachableError


def again(error: OpsError) -> OpsError:
    """The same error as a new exception, so that threads do not share a traceback."""
    info = error.info
    return type(error)(info.what, why=info.why, next=info.next, code=info.code, path=info.path, line=info.line)


def lost(name: str, why: str) -> ConnectionLost:
    """The channel broke while it was in use."""
    return ConnectionLost(
        f"the connection to {name} was lost", why=why, next="run the same command again: it goes on from what is there"
    )


def taken_away(name: str, words: str) -> LeaseBroken:
    """The lease is not ours any more: somebody broke it, or the run that we were a step of is over."""
    try:
        said = json.loads(words)
        by, reason = f"{said['user']} from {said['from']}", str(said["reason"])
    except (ValueError, KeyError, TypeError):
        return LeaseBroken(
            f"the run on {name} that this command was a step of is over",
            why="it was killed or lost its lease; this command was ended there, too",
            next=f"opsctl audit -d {name}",
        )
    return LeaseBroken(
        f"the lease of this run on {name} was broken by {by}",
        why=f"the reason given: {reason}",
        next=f"opsctl lease show -d {name}",
    )


def timed_out(name: str, seconds: float | None) -> DeadlineExceeded:
    """A script did not end in time; it was killed."""
    within = f"{seconds:g} s" if seconds is not None else "the time left for it"
    return DeadlineExceeded(f"a command on {name} did not end within {within}", why="it was killed there")


def not_started(name: str, status: int | None, words: str) -> UnreachableError:
    """The login worked, but no agent answered."""
    if status == 127:
        return UnreachableError(
            f"there is no bash on {name}",
            why=words or "the login shell did not find it",
            next="install it there (apk add bash, apt install bash)",
            code="no-bash",
        )
    return UnreachableError(
        f"{name} let us in, but its shell did not start a command",
        why=words or (f"it ended with status {status}" if status is not None else "it said nothing"),
        next="look at that user's login shell and start-up files (~/.bashrc, ~/.profile)",
        code="no-shell",
    )


def denied(name: str, *, user: str, asked: str) -> UnreachableError:
    """Neither the engine's socket nor sudo without a password is there for this user."""
    if asked == "always":
        return UnreachableError(
            f"sudo asks {user} for a password on {name}",
            why="the stack file says `docker: {sudo: always}`, and opsctl never types a password",
            next=f"echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{user}   # on {name}",
            code="sudo-refused",
        )
    return UnreachableError(
        f"{user} may not use Docker on {name}",
        why=f"{user} is not in the group of the engine's socket, and sudo asks for a password",
        next=f"sudo usermod -aG docker {user}   # on {name}, then log in again",
        code="docker-permission",
    )
