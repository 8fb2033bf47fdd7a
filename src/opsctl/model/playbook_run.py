"""What running a playbook leaves behind, and what is known of a run from its state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from opsctl.model.errors import ErrorInfo
from opsctl.model.playbook import PlayStep

Mode = Literal["run", "resume", "rollback"]
Status = Literal[
    "open",  # not begun
    "changed",
    "unchanged",
    "failed",
    "skipped",
    "interrupted",
    "approved",
    "waiting",  # for a person
    "would change",
    "would ask",
    "unknown",  # a dry run cannot tell before another step is done
]
State = Literal["running", "done", "failed", "waiting", "interrupted", "rolling back", "rolled back"]


@dataclass(frozen=True)
class StepReport:
    """How one step fared, or would. `plan` says what its job would do; `after` which steps may still change that."""

    id: str
    title: str
    droplet: str
    does: str
    status: Status
    detail: str = ""
    seconds: float = 0.0
    plan: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class PlaybookReport:
    """One run, resumed run or rollback of a playbook. `next` goes on with it, "" where nothing is left to do."""

    playbook: str
    title: str
    run: str
    mode: Mode
    dry_run: bool
    state: State
    steps: tuple[StepReport, ...]
    notes: tuple[str, ...] = ()
    next: str = ""


@dataclass(frozen=True)
class ListedPlaybook:
    """A playbook that can be run; `problem` says why one cannot."""

    name: str
    title: str
    file: str
    steps: int
    problem: str = ""


@dataclass(frozen=True)
class ListedRun:
    """A run that the droplet remembers."""

    run: str
    playbook: str
    state: State
    began: str
    by: str
    done: int
    steps: int


@dataclass(frozen=True)
class PlaybookListing:
    """Every playbook, and where they were asked for the droplet's runs, the newest first."""

    playbooks: tuple[ListedPlaybook, ...]
    runs: tuple[ListedRun, ...] | None = None


@dataclass(frozen=True)
class ShownVariable:
    """A variable of a playbook; of a secret only where it comes from."""

    name: str
    kind: str
    value: str
    about: str
    required: bool


@dataclass(frozen=True)
class ShownStep:
    """A step in words."""

    id: str
    title: str
    droplet: str
    needs: tuple[str, ...]
    precondition: tuple[str, ...]
    does: str
    probe: tuple[str, ...]
    undo: str


@dataclass(frozen=True)
class ShownPlaybook:
    """A whole playbook in words."""

    name: str
    title: str
    about: str
    file: str
    digest: str
    variables: tuple[ShownVariable, ...]
    steps: tuple[ShownStep, ...]


def shown_step(step: PlayStep) -> ShownStep:
    """A step in words."""
    return ShownStep(
        step.id,
        step.title,
        step.droplet,
        step.needs,
        tuple(str(each) for each in step.precondition),
        does(step),
        tuple(str(each) for each in step.probe),
        str(step.undo.call) if step.undo else "",
    )


def does(step: PlayStep) -> str:
    """What a step does, in one line."""
    return str(step.call) if step.call else f"asks: {step.approve}" if step.approve else "looks"


@dataclass
class Past:
    """What the lines of a run's state say has been done."""

    lines: list[Mapping[str, Any]] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)  # step → how it ended last
    order: list[str] = field(default_factory=list)  # steps whose job was begun, in that order
    touched: set[str] = field(default_factory=set)  # steps of which anything may have been done
    running: dict[str, tuple[str, ...]] = field(default_factory=dict)  # step → what ran before it was first begun
    ran: dict[str, set[str]] = field(default_factory=dict)  # step → what ran when it had ended, each time
    kept: dict[str, Mapping[str, str]] = field(default_factory=dict)  # step → what was so before it was first begun
    undone: set[str] = field(default_factory=set)
    began: str = ""  # when the run did, or when it was gone on with after it had failed; "" before
    state: State = "running"
    _open: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, lines: Sequence[Mapping[str, Any]]) -> Past:
        """From the lines, the oldest first."""
        past = cls()
        for line in lines:
            past.add(line)
        return past

    @property
    def head(self) -> Mapping[str, Any]:
        """The line that began the run; empty where there is none."""
        return self.lines[0] if self.lines and self.lines[0].get("event") == "run" else {}

    @property
    def candidates(self) -> list[str]:
        """The steps that a rollback takes back, the latest first."""
        cut_short = self.touched | self._open
        return [step for step in reversed(self.order) if step in cut_short and step not in self.undone]

    def moved(self, step: str, now: Collection[str], *, gone: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
        """What a step started and stopped and is still so, where `now` is what runs; `gone` is taken back already.

        A step that was cut short left no word of its end: then everything counts that has changed since it began.
        """
        before = set(self.running.get(step, ()))
        ended = step not in self._open and self.ran.get(step)
        after = self.ran[step] if ended else set(now)
        started = (set(now) & after) - before - set(gone)
        stopped = before - set(now) - (after if ended else set()) - set(gone)
        return {"started": tuple(sorted(started)), "stopped": tuple(sorted(stopped))}

    def add(self, line: Mapping[str, Any]) -> None:
        """Take one line."""
        self.lines.append(line)
        step, event = str(line.get("step", "")), line.get("event")
        if event == "run":
            self.began = str(line.get("at", ""))
        elif event == "begin":
            self._begin(step, line)
        elif event == "end":
            self._end(step, str(line.get("outcome", "")), probed=bool(line.get("probed")))
            self.ran.setdefault(step, set()).update(line.get("running") or ())
        elif event == "approved":
            self.ended[step] = "approved"
        elif event == "undo-end" and line.get("outcome") in ("changed", "unchanged"):
            self.undone.add(step)
        elif event == "state":
            if self.state == "failed" and line["state"] == "running":
                # Whoever goes on has seen why it failed: what was so then must not fail it for ever.
                self.began = str(line.get("at", ""))
            self.state = line["state"]

    def _begin(self, step: str, line: Mapping[str, Any]) -> None:
        if step in self._open:
            self.touched.add(step)  # the one before was cut short: nobody knows how far it came
        self._open.add(step)
        self.ended.pop(step, None)
        if step not in self.order:
            self.order.append(step)
            self.running[step] = tuple(line.get("running") or ())
            self.kept[step] = dict(line.get("kept") or {})

    def _end(self, step: str, outcome: str, *, probed: bool) -> None:
        self.ended[step] = outcome
        if step in self._open and (outcome != "unchanged" or probed):
            self.touched.add(step)
        self._open.discard(step)
