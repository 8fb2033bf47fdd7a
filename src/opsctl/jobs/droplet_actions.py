"""What can be done to a droplet through its provider: typed actions and their handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from opsctl.model.cloud import Cloud, CloudSnapshot, Tell
from opsctl.model.events import Outcome
from opsctl.model.plan import Action, Step
from opsctl.model.units import show_duration, show_size
from opsctl.spine.batch import Batch, Handler


@dataclass(frozen=True)
class Reboot(Action):
    """Ask the droplet's system to start again."""

    kind: ClassVar[str] = "cloud-reboot"
    droplet: int


@dataclass(frozen=True)
class PowerCycle(Action):
    """Cut the power and switch it on again."""

    kind: ClassVar[str] = "cloud-power-cycle"
    droplet: int


@dataclass(frozen=True)
class PowerOn(Action):
    """Switch it on."""

    kind: ClassVar[str] = "cloud-power-on"
    droplet: int


@dataclass(frozen=True)
class PowerOff(Action):
    """Shut it down, or cut the power where it does not go."""

    kind: ClassVar[str] = "cloud-power-off"
    droplet: int


@dataclass(frozen=True)
class Resize(Action):
    """Another size; with `disk` for good."""

    kind: ClassVar[str] = "cloud-resize"
    droplet: int
    size: str
    disk: bool


@dataclass(frozen=True)
class CopyDroplet(Action):
    """A snapshot of the droplet's own disk."""

    kind: ClassVar[str] = "cloud-snapshot"
    droplet: int
    name: str


@dataclass(frozen=True)
class CopyVolume(Action):
    """A snapshot of a volume."""

    kind: ClassVar[str] = "cloud-snapshot-volume"
    volume: str
    name: str


@dataclass(frozen=True)
class DeleteCopy(Action):
    """Delete a snapshot that is older than `keep` seconds by the provider's clock."""

    kind: ClassVar[str] = "cloud-snapshot-delete"
    snapshot: str
    created: str
    keep: float


CUTS = frozenset({Reboot.kind, PowerCycle.kind, PowerOff.kind})  # what ends every connection


@dataclass
class CloudHandlers:
    """Does these actions on one account."""

    cloud: Cloud
    made: list[CloudSnapshot] = field(default_factory=list)

    def handlers(self) -> Mapping[str, Handler]:
        """By kind of action."""
        return {
            Reboot.kind: self._each(self._reboot),
            PowerCycle.kind: self._each(self._power_cycle),
            PowerOn.kind: self._each(self._power_on),
            PowerOff.kind: self._each(self._power_off),
            Resize.kind: self._each(self._resize),
            CopyDroplet.kind: self._each(self._copy_droplet),
            CopyVolume.kind: self._each(self._copy_volume),
            DeleteCopy.kind: self._each(self._delete),
        }

    def _each(self, work: Callable[[Batch, Step, Tell], tuple[Outcome, str]]) -> Handler:
        def run(batch: Batch) -> None:
            for step in batch.steps:

                def tell(state: str, step: Step = step) -> None:
                    batch.board.waiting(step, state)

                batch.done(step, *work(batch, step, _new_only(tell)))

        return Handler(run)

    def _reboot(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        assert isinstance(step.action, Reboot)
        done = self.cloud.reboot(step.action.droplet, cancel=batch.cancel, tell=tell)
        return Outcome.CHANGED, f"rebooted, and active (action {done.id})"

    def _power_cycle(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        assert isinstance(step.action, PowerCycle)
        done = self.cloud.power_cycle(step.action.droplet, cancel=batch.cancel, tell=tell)
        return Outcome.CHANGED, f"power-cycled, and active (action {done.id})"

    def _power_on(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        assert isinstance(step.action, PowerOn)
        number = step.action.droplet
        if self.cloud.settled(number, cancel=batch.cancel, tell=tell).status == "active":
            return Outcome.UNCHANGED, "on already"
        done = self.cloud.power_on(number, cancel=batch.cancel, tell=tell)
        return Outcome.CHANGED, f"switched on, and active (action {done.id})"

    def _power_off(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        assert isinstance(step.action, PowerOff)
        number = step.action.droplet
        if self.cloud.settled(number, cancel=batch.cancel, tell=tell).status == "off":
            return Outcome.UNCHANGED, "off already"
        done = self.cloud.power_off(number, cancel=batch.cancel, tell=tell)
        if done.kind == "power_off":
            return Outcome.CHANGED, f"off: its power was cut, for a shutdown did not end well (action {done.id})"
        return Outcome.CHANGED, f"off, shut down by its own system (action {done.id})"

    def _resize(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        assert isinstance(step.action, Resize)
        action = step.action
        if self.cloud.settled(action.droplet, cancel=batch.cancel, tell=tell).size == action.size:
            return Outcome.UNCHANGED, f"{action.size} already"
        done = self.cloud.resize(action.droplet, action.size, disk=action.disk, cancel=batch.cancel, tell=tell)
        return Outcome.CHANGED, f"{action.size} (action {done.id})"

    def _copy_droplet(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        assert isinstance(step.action, CopyDroplet)
        return self._made(
            self.cloud.snapshot(step.action.droplet, step.action.name, cancel=batch.cancel, tell=tell), step.action.name
        )

    def _copy_volume(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        assert isinstance(step.action, CopyVolume)
        copy = self.cloud.snapshot_volume(step.action.volume, step.action.name, cancel=batch.cancel)
        return self._made(copy, f"volume {step.action.volume}")

    def _made(self, copy: CloudSnapshot, what: str) -> tuple[Outcome, str]:
        self.made.append(copy)
        return Outcome.CHANGED, f"{what}: {show_size(copy.size)} (snapshot {copy.id})"

    def _delete(self, batch: Batch, step: Step, tell: Tell) -> tuple[Outcome, str]:
        """The laptop's clock proposed it; the provider's own times decide."""
        assert isinstance(step.action, DeleteCopy)
        action = step.action
        age = _between(action.created, max((each.created for each in self.made), default=""))
        if age is None or age < action.keep:
            told = "no copy was made that it could be compared with" if age is None else f"{show_duration(age)} old"
            return Outcome.UNCHANGED, f"kept: {told} by the provider's clock"
        self.cloud.delete_snapshot(action.snapshot, cancel=batch.cancel)
        return Outcome.CHANGED, f"deleted, it was {show_duration(age)} old"


def _between(earlier: str, later: str) -> float | None:
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except (ValueError, TypeError):
        return None


def _new_only(tell: Tell) -> Tell:
    """Say a state once, however often it is seen."""
    last = ""

    def say(state: str) -> None:
        nonlocal last
        if state != last:
            last = state
            tell(state)

    return say
