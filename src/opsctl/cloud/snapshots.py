"""Copies of droplets and of their volumes."""

from __future__ import annotations

from collections.abc import Callable

from opsctl.cloud import shapes
from opsctl.cloud.answers import Lost
from opsctl.cloud.client import Client
from opsctl.cloud.following import Following
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import CloudSnapshot, CloudVolume, Tell
from opsctl.model.errors import StepFailed, UsageError

_LAG = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # s; a copy may be listed a little after its action is completed
TAG = "opsctl"


class Copies:
    """Makes, lists and deletes snapshots."""

    def __init__(self, client: Client, following: Following) -> None:
        self._client = client
        self._following = following

    def volumes(self, number: int, *, cancel: Cancel) -> tuple[CloudVolume, ...]:
        """The volumes of a droplet."""
        names = self._following.droplet(number, cancel=cancel).volumes
        return tuple(shapes.volume(self._client.get(f"/v2/volumes/{name}", cancel=cancel)["volume"]) for name in names)

    def every(self, number: int, *, cancel: Cancel) -> tuple[CloudSnapshot, ...]:
        """The snapshots of a droplet and its volumes, the oldest first."""
        found = list(self._of_droplet(number, cancel))
        for volume in self._following.droplet(number, cancel=cancel).volumes:
            found += self._of_volume(volume, cancel)
        return tuple(sorted(found, key=lambda each: (each.created, each.name)))

    def _of_droplet(self, number: int, cancel: Cancel) -> tuple[CloudSnapshot, ...]:
        every = self._client.pages(f"/v2/droplets/{number}/snapshots", "snapshots", cancel=cancel)
        return tuple(shapes.snapshot(each, str(number), "droplet") for each in every)

    def _of_volume(self, volume: str, cancel: Cancel) -> tuple[CloudSnapshot, ...]:
        every = self._client.pages(f"/v2/volumes/{volume}/snapshots", "snapshots", cancel=cancel)
        return tuple(shapes.snapshot(each, volume, "volume") for each in every)

    def droplet(self, number: int, name: str, *, cancel: Cancel, tell: Tell) -> CloudSnapshot:
        """Copy a droplet, unless a copy of that name is there (or on its way) already."""
        self._following.settled(number, cancel=cancel, tell=tell)
        if found := _named(self._of_droplet(number, cancel), name):
            return found
        self._following.act(number, {"type": "snapshot", "name": name}, cancel=cancel, tell=tell)
        return self._listed(lambda: self._of_droplet(number, cancel), name, cancel)

    def volume(self, volume: str, name: str, *, cancel: Cancel) -> CloudSnapshot:
        """Copy a volume, unless a copy of that name is there already."""
        if found := _named(self._of_volume(volume, cancel), name):
            return found
        body = {"name": name, "tags": [TAG]}
        try:
            answer = self._client.request("POST", f"/v2/volumes/{volume}/snapshots", body=body, cancel=cancel)
            return shapes.snapshot(answer["snapshot"], volume, "volume")
        except Lost as error:
            try:
                return self._listed(lambda: self._of_volume(volume, cancel), name, cancel)
            except StepFailed:
                raise error.final from None

    def _listed(self, read: Callable[[], tuple[CloudSnapshot, ...]], name: str, cancel: Cancel) -> CloudSnapshot:
        for pause in _LAG:
            if cancel.wait(pause):
                cancel.check(f"snapshot {name}")
            if found := _named(read(), name):
                return found
        raise StepFailed(
            f"the snapshot {name} is not there",
            why="the provider says that it was made, and does not list it",
            next="opsctl droplet show",
            code="snapshot-missing",
        )

    def delete(self, snapshot: str, *, cancel: Cancel) -> None:
        """Delete one."""
        try:
            self._client.request("DELETE", f"/v2/snapshots/{snapshot}", cancel=cancel)
        except UsageError as error:
            if error.info.code != "not-found":
                raise


def _named(every: tuple[CloudSnapshot, ...], name: str) -> CloudSnapshot | None:
    return next((each for each in every if each.name == name), None)
