"""What the stand-in really does to a sandbox droplet when the API is asked for an action."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError
from opsctl.sandbox import fleet
from opsctl.sandbox.cloud_shapes import Refused, action_shape, droplet_id, snapshot_shape
from opsctl.sandbox.cloud_sizes import SIZES, first_size
from opsctl.sandbox.cloud_state import State, now
from opsctl.sandbox.kinds import Spec, Switch

Work = Callable[[], None]
_SWITCHES = {
    "reboot": Switch.ASK_REBOOT,
    "power_cycle": Switch.CYCLE,
    "power_off": Switch.OFF,
    "power_on": Switch.ON,
    "shutdown": Switch.ASK_OFF,
}


class Actions:
    """Begins actions; each runs in a thread of its own, one a droplet at a time."""

    def __init__(self, sandbox: str, state: State, say: Callable[[str], None]) -> None:
        self._sandbox, self._state, self._say = sandbox, state, say

    def locked(self, droplet: int) -> bool:
        """Whether an action on this droplet is under way."""
        return any(
            each["status"] == "in-progress" and each["resource_id"] == droplet and each["resource_type"] == "droplet"
            for each in self._state.actions
        )

    def begin(self, spec: Spec, body: Mapping[str, Any]) -> dict[str, Any]:
        """Check what is asked for and begin it. Raises Refused as the API does."""
        kind = str(body.get("type", ""))
        with self._state.change() as state:
            if self.locked(droplet_id(spec.name)):
                raise Refused(422, "Droplet already has a pending event.")
            work = self._work(kind, spec, body)
            action = action_shape(state.number(), kind, droplet_id(spec.name), now())
            state.actions.append(action)
            begun = dict(action)
        threading.Thread(target=self._run, args=(action, work), name=f"action-{begun['id']}").start()
        return begun

    def _work(self, kind: str, spec: Spec, body: Mapping[str, Any]) -> Work:
        if kind in _SWITCHES:
            return self._switching(kind, spec)
        if kind == "snapshot":
            name = str(body.get("name") or f"{spec.name}-{int(time.time() * 1000)}")
            return lambda: self._snapshot(spec, name)
        if kind == "resize":
            return self._resizing(spec, str(body.get("size", "")), disk=body.get("disk") is True)
        if kind == "restore":
            return self._restoring(spec, str(body.get("image", "")))
        raise Refused(422, f"{kind!r} is not an action of this stand-in" if kind else "type is missing")

    def _switching(self, kind: str, spec: Spec) -> Work:
        on = self.is_on(spec)
        if kind == "power_on" and on:
            raise Refused(422, "Droplet is already powered on.")
        if kind in ("power_off", "shutdown", "reboot") and not on:
            raise Refused(422, "Droplet is currently powered off.")
        how = _SWITCHES[kind]
        wakes = kind in ("power_on", "power_cycle", "reboot")

        def work() -> None:
            off = wakes and self._state.take("stays-off")
            with fleet.working_on(self._sandbox, spec.name) as (there, found):
                there.switch(found, Switch.OFF if off else how, Cancel(120))

        return work

    def _snapshot(self, spec: Spec, name: str) -> None:
        with self._state.change() as state:
            number = str(state.number())
        with fleet.working_on(self._sandbox, spec.name) as (there, found):
            size = there.snapshot(found, number, Cancel(900))
        least = int(self._state.droplets.get(spec.name, {}).get("disk", first_size(spec.memory).disk))
        made = snapshot_shape(number, name, "droplet", str(droplet_id(spec.name)), now(), least_disk=least, size=size)
        with self._state.change() as state:
            state.snapshots.append(made)

    def _resizing(self, spec: Spec, slug: str, *, disk: bool) -> Work:
        size = SIZES.get(slug)
        has = self._state.droplets.get(spec.name, {})
        now_disk = int(has.get("disk", first_size(spec.memory).disk))
        if size is None:
            raise Refused(422, "You specified an invalid size for Droplet resize.")
        if size.slug == has.get("size", first_size(spec.memory).slug):
            raise Refused(422, "This size is the same as the Droplet's current size.")
        if size.disk < now_disk:
            raise Refused(422, "This size is not available because it has a smaller disk.")
        if self.is_on(spec):
            raise Refused(422, "Droplet must be powered off before it can be resized.")

        def work() -> None:
            fleet.resize(self._sandbox, spec.name, size.memory * 2**20, Cancel(120))
            with self._state.change() as state:
                rented = {**has, "size": size.slug, "disk": size.disk if disk else now_disk}
                state.droplets[spec.name] = {**state.droplets.get(spec.name, {}), **rented}

        return work

    def _restoring(self, spec: Spec, image: str) -> Work:
        own = str(droplet_id(spec.name))
        if not any(each["id"] == image and each["resource_id"] == own for each in self._state.snapshots):
            raise Refused(422, "The image you specified is not a snapshot of this Droplet.")

        def work() -> None:
            with fleet.working_on(self._sandbox, spec.name) as (there, found):
                there.switch(found, Switch.OFF, Cancel(60))
                there.restore(found, image, Cancel(900))
                there.switch(found, Switch.ON, Cancel(120))

        return work

    def is_on(self, spec: Spec) -> bool:
        """Whether a droplet has power."""
        return fleet.kind_of(self._sandbox).is_on(spec)

    def drop_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Remove the copy of a droplet's disk."""
        for spec in fleet.get(self._sandbox).droplets:
            if str(droplet_id(spec.name)) == snapshot["resource_id"]:
                fleet.kind_of(self._sandbox).drop_snapshot(spec, str(snapshot["id"]), Cancel(120))

    def _run(self, action: dict[str, Any], work: Work) -> None:
        bound = Cancel(self._state.faults()["action-time"])
        outcome = "completed"
        try:
            if self._state.take("errored"):
                outcome = "errored"
            else:
                work()
        except OpsError as error:
            self._say(f"action {action['id']} ({action['type']}): {error.info.what}: {error.info.why}")
            outcome = "errored"
        except Exception as error:  # noqa: BLE001 - an action must end, or its droplet stays locked for ever
            self._say(f"action {action['id']} ({action['type']}): {type(error).__name__}: {error}")
            outcome = "errored"
        bound.wait(3600)
        with self._state.change():
            action.update(status=outcome, completed_at=now())
