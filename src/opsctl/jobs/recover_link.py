"""What `recover` works with: connections that come and go, somebody to ask, and what was done so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from opsctl.jobs.call import Call
from opsctl.jobs.criteria import Reading, read
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud
from opsctl.model.errors import ErrorInfo, ExitCode, OpsError
from opsctl.model.events import Note, Outcome, StepEnded, StepStarted, StepWaiting
from opsctl.model.operate import DropletFacts
from opsctl.model.ports import Reporter, Shell
from opsctl.model.recovery import Climb, Rung
from opsctl.model.run import RunResult
from opsctl.model.stack import Droplet, Stack
from opsctl.model.why import WhyReader
from opsctl.spine.audit import Entry

HOLD = "recover"  # one name for all runs: a rerun takes over what a killed one left
HOLD_SECONDS = 900.0


@dataclass(frozen=True)
class Link:
    """One connection. `call` is a changing job's, with facts that are read when they are asked for."""

    call: Call
    shell: Shell  # repeats a read once
    why: WhyReader

    def fresh(self, number: int, title: str) -> Call:
        """A call of its own for one step of the ladder: facts of now, and a line of its own in the audit."""
        return replace(self.call, entry=step_entry(self.call.entry, number, title), on_failure="keep", dry_run=False)

    def measure(self, cancel: Cancel, known: DropletFacts | None = None) -> Reading:
        """What holds now; `known`: what compose said since this boot. Raises OpsError."""
        return read(self.call, self.shell, self.why, cancel=cancel, known=known)


def step_entry(entry: Entry, number: int, title: str) -> Entry:
    """What the audit is told of one step: its number counts from one, for the recovery has its own line."""
    return replace(entry, run_id=f"{entry.run_id}.{number + 1}", command=f"{entry.command}   ({title})")


Connect = Callable[[float], AbstractContextManager[Link]]  # s a login may take; 0: as long as is configured


@dataclass(frozen=True)
class Means:
    """With what a droplet is brought back. `ask` says whether a step that cuts a running system may be done."""

    droplet: Droplet
    stack: Stack
    connect: Connect
    knock: Callable[[Cancel], bool]
    listen: Callable[[Cancel], None]  # raises UnreachableError where nobody speaks SSH, asked as often as a login asks
    cloud: Callable[[], Cloud]
    ask: Callable[[str], bool]
    entry: Entry
    reporter: Reporter
    cancel: Cancel
    state_dir: str


@dataclass(frozen=True)
class Wishes:
    """What the user asked for. Seconds for `within`: how long a boot may take."""

    up_to: Rung
    optimal: bool = False
    dry_run: bool = False
    within: float = 300.0
    gentle: float = 30.0  # for the provider's reboot of a droplet that says nothing, before its power is cut
    ignore_memory: bool = False
    wait: float = 0.0  # s to wait for a lease that somebody else holds


@dataclass
class Story:
    """What has happened so far on one droplet."""

    means: Means
    wishes: Wishes
    began: float = field(default_factory=time.monotonic)
    climbs: list[Climb] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    boot_before: str = ""
    boot_after: str = ""
    ended: str = ""
    patience: float = 0.0  # s to wait for a lease that somebody else holds

    @property
    def runs(self) -> int:
        """How many steps have been written down: the next one's number."""
        return len(self.climbs)

    def told(self, kind: str, title: str) -> Telling:
        """A step whose progress is told from now on."""
        return Telling(self, kind, title)

    def note(self, text: str, level: str = "info") -> None:
        """Say something that changes nothing."""
        self.means.reporter.emit(Note(self.means.droplet.name, text, level))


class Telling:
    """One step of the ladder while it is done: its waiting is told, its end is kept."""

    def __init__(self, story: Story, kind: str, title: str) -> None:
        self._story, self.kind, self.title = story, kind, title
        self._began = time.monotonic()
        self._last = ""
        self._name = story.means.droplet.name
        story.means.reporter.emit(StepStarted(self._name, kind, title))

    def waiting(self, state: str) -> None:
        """The last state seen; told when it changes."""
        if state != self._last:
            self._last = state
            self._story.means.reporter.emit(StepWaiting(self._name, self.kind, state))

    @property
    def last(self) -> str:
        """The last state seen."""
        return self._last

    def end(
        self, outcome: Outcome, detail: str, *, run: RunResult | None = None, error: ErrorInfo | None = None
    ) -> Climb:
        """Keep how it ended."""
        seconds = round(time.monotonic() - self._began, 3)
        climb = Climb(self.kind, self.title, outcome, detail, seconds, run, error)
        self._story.climbs.append(climb)
        self._story.means.reporter.emit(StepEnded(self._name, self.kind, outcome, seconds, f"{self.title}: {detail}"))
        return climb

    def failed(self, error: OpsError) -> Climb:
        """Keep that it failed; an interrupt is raised on."""
        if error.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED, ExitCode.HANGUP):
            raise error
        return self.end(Outcome.FAILED, error.info.what, error=error.info)
