"""Takes steps back, the last first; what cannot be taken back is said and does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError
from opsctl.model.events import Event, Note, Outcome, StepWaiting
from opsctl.model.plan import Step
from opsctl.spine.batch import Batch, Verdict
from opsctl.spine.means import Means


class _Notes:
    """A board that remembers what was taken back, and reports the rest as warnings."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.undone: list[str] = []

    def settle(self, verdicts: Mapping[str, Verdict]) -> None:
        for name, verdict in verdicts.items():
            if verdict.outcome is Outcome.FAILED:
                self.emit(Note(self._means.droplet, f"could not undo {name}: {verdict.detail}", "warning"))
            else:
                self.undone.append(name)

    def waiting(self, step: Step, state: str) -> None:
        self.emit(StepWaiting(self._means.droplet, step.id, state, step.service))

    def emit(self, event: Event) -> None:
        self._means.reporter.emit(event)


def take_back(
    steps: Sequence[Step],
    batch: Callable[[tuple[Step, ...], Cancel], Batch],
    means: Means,
    cancel: Cancel,
) -> tuple[str, ...]:
    """Run the `undo` of these steps in this order, neighbours of one kind side by side; the ids taken back."""
    notes = _Notes(means)
    undos = [replace(step, action=step.undo, guards=(), undo=None) for step in steps if step.undo is not None]
    for kind, group in groupby(undos, key=lambda step: step.action.kind):
        together = tuple(group)
        notes.emit(Note(means.droplet, "taking back: " + ", ".join(step.title for step in together)))
        try:
            means.handlers[kind].run(replace(batch(together, cancel), board=notes))
        except OpsError as error:
            names = ", ".join(step.id for step in together)
            notes.emit(Note(means.droplet, f"could not undo {names}: {error.info.what}", "warning"))
    return tuple(notes.undone)
