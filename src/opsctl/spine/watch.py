"""Work that does not run inside a lease's guard ends when the lease is lost, all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ErrorInfo, Interrupted, OpsError
from opsctl.model.ports import Guard, Script

_EVERY = 10.0  # s; a guard that is not fed ends after 45
_BOUND = 20.0  # s


@contextmanager
def watched(guard: Guard, work: Cancel, *, every: float = _EVERY) -> Iterator[None]:
    """Ask the guard now and then whether it is there still; `work` is cancelled when it is not.

    Raises what the guard said (LeaseBroken, ConnectionLost) instead of the Interrupted that follows from that.
    """
    over, lost = Cancel(), list[OpsError]()

    def look() -> None:
        while not over.wait(every):
            try:
                guard.run(Script.of("true"), cancel=over, timeout=_BOUND)
            except OpsError as error:
                if not over.cancelled:
                    lost.append(error)
                    work.cancel()
                return

    thread = threading.Thread(target=look, name="lease")
    thread.start()
    try:
        yield
    except Interrupted as error:
        if lost:
            lost[0].info = _going_on(lost[0], error)
            raise lost[0] from None
        raise
    finally:
        over.cancel()
        thread.join()


def _going_on(lost: OpsError, error: Interrupted) -> ErrorInfo:
    return replace(lost.info, next=error.info.next or lost.info.next)
