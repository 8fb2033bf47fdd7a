"""Holds a playbook's own lease on its droplets, and writes its state through it.

Scope `playbook` for the whole run: two runs of playbooks never interleave on a droplet. Each step's job takes the
scope `stack` for itself, so that between two steps, while a person is asked and while memory is watched for hours,
other commands may work; what they change is seen, for every step looks at the real state before it begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from opsctl.jobs.playbook_place import Place
from opsctl.jobs.playbook_store import Store
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ErrorInfo, ExitCode, OpsError, UnreachableError
from opsctl.model.events import Note
from opsctl.model.playbook_run import Past
from opsctl.model.ports import Reporter, Shell
from opsctl.spine import local_audit
from opsctl.spine.audit import Entry
from opsctl.spine.lease import Lease, hold

_KNOCK = 5.0  # s
_LAST_WORDS = 5.0  # s; what is written after Ctrl-C


class Keeper:
    """The leases and the state of one run."""

    def __init__(
        self,
        home: Place,
        others: Callable[[], Sequence[Place]],
        store: Store,
        past: Past,
        entry: Entry,
        reporter: Reporter,
        *,
        state_dir: str,
        may_be_down: bool,
    ) -> None:
        self._home, self._others = home, others
        self._store = store
        self._past = past
        self._entry = entry
        self._reporter = reporter
        self._state_dir = state_dir
        self._may_be_down = may_be_down
        self._held: dict[str, tuple[ExitStack, Lease]] = {}
        self._audited_here = False
        self._known = False  # whether the state has been read
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take the leases that are not held. Raises LeaseHeld, UnreachableError where the droplet may not be down."""
        for place in (self._home, *self._others()):
            if place.droplet.name in self._held:
                continue
            try:
                self._take(place)
            except UnreachableError as error:
                if not self._may_be_down or place is not self._home:
                    raise
                self._without(place, error)
        if self._known:
            self._store.push(self._shell, self._home.cancel)

    def load(self) -> None:
        """Read what has been written so far, now that nobody else can write."""
        self._store.load(self._shell, self._home.cancel)
        for line in self._store.lines:
            self._past.add(line)
        self._known = True

    def leave(self) -> None:
        """Give the leases back: a droplet is about to go away."""
        for name in list(self._held):
            stack, _ = self._held.pop(name)
            stack.close()

    def write(self, **line: Any) -> None:
        """Write a line of state; at the droplet first. Raises StepFailed, ConnectionLost, LeaseBroken."""
        with self._lock:
            late = self._home.cancel.cancelled
            bound = Cancel(_LAST_WORDS) if late else self._home.cancel
            self._past.add(self._store.add(self._shell, line, bound))

    def end(self, code: ExitCode, error: ErrorInfo | None, seconds: float) -> None:
        """Give everything back, with the audit's last line."""
        if self._audited_here:
            outcome = "interrupted" if int(code) >= 129 else "failed" if code else "done"
            local_audit.end(
                self._entry.run_id,
                self._home.droplet.name,
                outcome=outcome,
                exit_code=int(code),
                seconds=seconds,
                detail=error.what if error else "",
            )
        for _, lease in self._held.values():
            lease.exit_code, lease.detail = code, error.what if error else ""
        self.leave()

    @property
    def _shell(self) -> Shell | None:
        held = self._held.get(self._home.droplet.name)
        return held[1].guard if held else None

    def _take(self, place: Place) -> None:
        if self._may_be_down and not place.knock(place.cancel.child(_KNOCK)):
            raise UnreachableError(f"{place.droplet.name} does not answer on its SSH port")
        stack = ExitStack()
        lease = stack.enter_context(
            hold(place.host, self._entry, scope="playbook", state_dir=self._state_dir, cancel=place.cancel)
        )
        self._held[place.droplet.name] = (stack, lease)

    def _without(self, place: Place, error: OpsError) -> None:
        if self._audited_here:
            return
        local_audit.begin(self._entry, place.droplet.name)
        self._audited_here = True
        text = f"{place.droplet.name} does not answer ({error.info.what}): state and audit are kept here until it does"
        self._reporter.emit(Note(place.droplet.name, text, "warning"))
