"""The recovery itself in this machine's audit: its steps have lines of their own, with ends of their own."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from opsctl.jobs.recover_link import Means
from opsctl.model.errors import ErrorInfo, ExitCode, OpsError
from opsctl.spine import local_audit


class RecoveryLog:
    """One recovery of one droplet. That it cannot be written here stops none: each step's line is what must be."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._began: float | None = None

    def begun(self) -> None:
        """Something is wrong, and will be mended."""
        self._began = time.monotonic()
        with suppress(OpsError):
            local_audit.begin(replace(self._means.entry, plan_id="recover"), self._means.droplet.name)

    def ended(self, code: ExitCode, error: ErrorInfo | None) -> None:
        """How it ended; nothing where nothing had begun."""
        if self._began is None:
            return
        outcome = "interrupted" if code >= ExitCode.HANGUP else "failed" if error is not None else "done"
        detail = error.what if error is not None else "recovered"  # why may hold words of a service
        with suppress(OpsError):
            local_audit.end(
                self._means.entry.run_id,
                self._means.droplet.name,
                outcome=outcome,
                exit_code=int(code),
                seconds=time.monotonic() - self._began,
                detail=detail,
            )
