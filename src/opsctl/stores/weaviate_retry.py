"""Which answers of Weaviate are worth asking again, and how long; every wait ends when the run is cancelled."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, UnreachableError
from opsctl.model.store import Target

T = TypeVar("T")
PATIENCE = 120.0  # seconds: a server is ready about 10 s after its start, and loads its shards after that
_LOOK = "opsctl status"
MEETING = 10.0  # seconds until one that has never answered is given up

_PASSING = re.compile(
    r"connection refused|connection reset|broken pipe|unavailable|too many requests|rate.?limit|429|503"
    r"|deadline exceeded|context canceled|timed? ?out|not ready|no leader|leader not found|leadership"
    r"|memory pressure|not enough memory|store is read-?only due to|shutting down|shut down|in progress|EOF",
    re.IGNORECASE,
)
_ASLEEP = re.compile(r"tenant not active|tenant not found|tenant .* not found|shard .* not found|no such tenant", re.I)


class Passing(Exception):
    """Something that may be different a moment later. `why` is the server's or the wire's own words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def look_at(target: Target) -> str:
    """What to type when it does not answer."""
    if target.via:
        return f"opsctl status -d {target.via}"
    scheme = target.url.reveal().partition("://")[0]
    return f"curl -sS {scheme}://{target.shown.rstrip('/')}/v1/.well-known/ready"


def passes(message: str) -> bool:
    """Whether a refusal is of the moment and not of the object."""
    return _PASSING.search(message) is not None


def tenant_missing(message: str) -> bool:
    """Whether a refusal means that the tenant is at rest or not there (any more)."""
    return _ASLEEP.search(message) is not None


def patiently(
    what: str, call: Callable[[], T], cancel: Cancel, *, where: str, patience: float = PATIENCE, look: str = _LOOK
) -> T:
    """What `call` gives; while it raises Passing it is asked again, ever more slowly, for `patience` seconds.

    `look` is the command that one would type when it stays away. Raises UnreachableError with the last reason,
    Interrupted.
    """
    from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

    def sleep(seconds: float) -> None:
        cancel.wait(seconds)
        cancel.check(f"Weaviate at {where}")

    again = Retrying(
        stop=stop_after_delay(patience),
        wait=wait_exponential_jitter(multiplier=0.2, max=5.0, jitter=0.2),
        retry=retry_if_exception_type(Passing),
        sleep=sleep,
    )
    try:
        return again(call)
    except RetryError as error:
        reason = error.last_attempt.exception()
        raise unreachable(what, where, reason.why if isinstance(reason, Passing) else str(reason), look) from None


def unreachable(what: str, where: str, why: str, look: str = _LOOK) -> OpsError:
    """Weaviate does not answer."""
    return UnreachableError(
        f"Weaviate at {where} does not answer: {what}",
        why=_short(why),
        next=f"{look}   (does it run, and listen there?)",
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:299] + "…"
