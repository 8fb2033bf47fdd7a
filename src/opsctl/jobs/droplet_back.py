"""After the power was away: waits until the droplet answers over SSH again, in a new boot."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import ClassVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, OpsError, UnreachableError
from opsctl.model.events import Outcome
from opsctl.model.plan import Action, Step
from opsctl.model.ports import GuardSpec, Host
from opsctl.spine import audit
from opsctl.spine.batch import Batch, Handler

_TRY = 8.0  # s; one attempt to log in
_PAUSE = 0.5  # s between two
_LAST_WORDS = 10.0  # s


@dataclass(frozen=True)
class Back(Action):
    """The droplet answers over SSH again; `within` in seconds."""

    kind: ClassVar[str] = "cloud-back"
    within: float


@dataclass
class Return:
    """Waits for one droplet. `boot` is the boot id before, "" where nobody knows it."""

    again: Callable[[], AbstractContextManager[Host]]
    entry: audit.Entry
    state_dir: str
    boot: str = ""
    leased: bool = False

    def handler(self) -> Handler:
        """For `Back`."""
        return Handler(self._run)

    def _run(self, batch: Batch) -> None:
        for step in batch.steps:
            began = time.monotonic()
            boot = self._wait(batch, step)
            told = f"answers over SSH after {time.monotonic() - began:.0f} s"
            told += f", new boot {boot[:8]}" if self.boot and boot != self.boot else ""
            batch.done(step, Outcome.CHANGED, told)

    def _wait(self, batch: Batch, step: Step) -> str:
        assert isinstance(step.action, Back)
        bound = batch.cancel.child(step.action.within)
        last = "not tried yet"
        while True:
            try:
                with self.again() as host:
                    boot = host.privilege(cancel=bound.child(_TRY)).boot_id
                    if boot != self.boot:
                        self._close_audit(host)
                        return boot
                    last = "it answers, and has not started anew yet"
            except (UnreachableError, DeadlineExceeded) as error:
                last = error.info.why or error.info.what
            batch.board.waiting(step, f"waiting for SSH: {last}")
            if bound.wait(_PAUSE):
                batch.cancel.check("SSH")
                raise UnreachableError(
                    f"{batch.droplet} did not come back over SSH within {step.action.within:g} s",
                    why=f"the provider says that it is on; last seen: {last}",
                    next=f"opsctl recover -d {batch.droplet}",
                    code="not-back",
                )

    def _close_audit(self, host: Host) -> None:
        """The begin was written before the power went; nobody else could write the end."""
        if not self.leased:
            return
        with suppress(OpsError):
            guard = host.guard(GuardSpec("stack", self.entry.run_id, self.entry.holder()), cancel=Cancel(_LAST_WORDS))
            try:
                line = audit.end(self.entry.run_id, outcome="done", exit_code=0, seconds=0.0, detail="started anew")
                script = audit.append(self.state_dir, (line,))
                guard.run(script, cancel=Cancel(_LAST_WORDS), timeout=_LAST_WORDS)
            finally:
                guard.release()
