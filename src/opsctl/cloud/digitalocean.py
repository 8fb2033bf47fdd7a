"""DigitalOcean as a Cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from opsctl.cloud import shapes
from opsctl.cloud.client import Client, quiet
from opsctl.cloud.dns import Names
from opsctl.cloud.following import Following
from opsctl.cloud.snapshots import Copies
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import (
    CloudAction,
    CloudDroplet,
    CloudRecord,
    CloudSize,
    CloudSnapshot,
    CloudVolume,
    Tell,
)
from opsctl.model.errors import DeadlineExceeded, StepFailed, UsageError
from opsctl.model.secret import Secret

API = "https://api.digitalocean.com"


class DigitalOcean:
    """One account; see the port. The token is asked for with the first request."""

    def __init__(self, token: Callable[[], Secret], *, api: str = API) -> None:
        self._client = Client(api, token)
        self._following = Following(self._client)
        self._copies = Copies(self._client, self._following)
        self._names = Names(self._client)

    def close(self) -> None:
        """End the connections; safe to call twice."""
        self._client.close()

    # Droplets

    def droplets(self, *, cancel: Cancel) -> Sequence[CloudDroplet]:
        """As Cloud.droplets."""
        return tuple(self._every(cancel))

    def _every(self, cancel: Cancel) -> Iterator[CloudDroplet]:
        return (shapes.droplet(each) for each in self._client.pages("/v2/droplets", "droplets", cancel=cancel))

    def droplet(self, ref: int | str, *, cancel: Cancel) -> CloudDroplet:
        """As Cloud.droplet."""
        text = str(ref).strip()
        if text.isdigit():
            try:
                return self._following.droplet(int(text), cancel=cancel)
            except UsageError as error:
                raise UsageError(
                    f"{self._client.api} has no droplet {text}",
                    why=error.info.why,
                    next="opsctl droplet list",
                    code="not-found",
                ) from None
        every = self.droplets(cancel=cancel)
        found = [each for each in every if each.name == text]
        if len(found) == 1:
            return found[0]
        have = ", ".join(sorted(each.name for each in every)) or "no droplets at all"
        numbers = ", ".join(str(each.id) for each in found)
        raise UsageError(
            f"{self._client.api} has {len(found) or 'no'} droplet{'s' if found else ''} named {text}",
            why=f"their numbers: {numbers}" if found else f"the account has {have}",
            next="opsctl droplet list",
            code="not-found",
        )

    def settled(self, ref: int, *, cancel: Cancel, tell: Tell = quiet) -> CloudDroplet:
        """As Cloud.settled."""
        return self._following.settled(ref, cancel=cancel, tell=tell)

    def actions(self, ref: int, *, cancel: Cancel) -> Sequence[CloudAction]:
        """As Cloud.actions."""
        return self._following.latest(ref, cancel=cancel)

    # Power

    def reboot(self, ref: int, *, cancel: Cancel, tell: Tell = quiet) -> CloudAction:
        """As Cloud.reboot."""
        done = self._following.act(ref, {"type": "reboot"}, cancel=cancel, tell=tell)
        self._following.state(ref, "active", cancel=cancel, tell=tell)
        return done

    def power_cycle(self, ref: int, *, cancel: Cancel, tell: Tell = quiet) -> CloudAction:
        """As Cloud.power_cycle; one that the provider leaves off is switched on, once."""
        done = self._following.act(ref, {"type": "power_cycle"}, cancel=cancel, tell=tell)
        if self._following.droplet(ref, cancel=cancel).status == "off":
            tell("power_cycle is completed, but the droplet is off: switching it on")
            return self.power_on(ref, cancel=cancel, tell=tell)
        self._following.state(ref, "active", cancel=cancel, tell=tell)
        return done

    def power_on(self, ref: int, *, cancel: Cancel, tell: Tell = quiet) -> CloudAction:
        """As Cloud.power_on."""
        done = self._following.act(ref, {"type": "power_on"}, cancel=cancel, tell=tell)
        self._following.state(ref, "active", cancel=cancel, tell=tell)
        return done

    def power_off(self, ref: int, *, cancel: Cancel, tell: Tell = quiet) -> CloudAction:
        """As Cloud.power_off."""
        try:
            done = self._following.act(ref, {"type": "shutdown"}, cancel=cancel, tell=tell)
            self._following.state(ref, "off", cancel=cancel, tell=tell)
            return done
        except (StepFailed, DeadlineExceeded) as error:
            cancel.check("the droplet to be off")
            # An action that says completed while the droplet is active: the system did not follow.
            tell(f"its system did not go by itself ({error.info.what}): cutting the power")
        done = self._following.act(ref, {"type": "power_off"}, cancel=cancel, tell=tell)
        self._following.state(ref, "off", cancel=cancel, tell=tell)
        return done

    def resize(self, ref: int, size: str, *, disk: bool, cancel: Cancel, tell: Tell = quiet) -> CloudAction:
        """As Cloud.resize."""
        body = {"type": "resize", "size": size, "disk": disk}
        done = self._following.act(ref, body, cancel=cancel, tell=tell)
        seen = self._following.droplet(ref, cancel=cancel)
        if seen.size != size:
            raise StepFailed(
                f"resize is completed, but droplet {ref} is {seen.size}, not {size}",
                next="opsctl droplet show",
                code="size-unchanged",
            )
        return done

    def sizes(self, *, cancel: Cancel) -> Sequence[CloudSize]:
        """As Cloud.sizes."""
        every = (shapes.size(each) for each in self._client.pages("/v2/sizes", "sizes", cancel=cancel))
        return tuple(sorted(every, key=lambda each: (each.price, each.memory)))

    # Copies

    def volumes(self, ref: int, *, cancel: Cancel) -> Sequence[CloudVolume]:
        """As Cloud.volumes."""
        return self._copies.volumes(ref, cancel=cancel)

    def snapshots(self, ref: int, *, cancel: Cancel) -> Sequence[CloudSnapshot]:
        """As Cloud.snapshots."""
        return self._copies.every(ref, cancel=cancel)

    def snapshot(self, ref: int, name: str, *, cancel: Cancel, tell: Tell = quiet) -> CloudSnapshot:
        """As Cloud.snapshot."""
        return self._copies.droplet(ref, name, cancel=cancel, tell=tell)

    def snapshot_volume(self, volume: str, name: str, *, cancel: Cancel) -> CloudSnapshot:
        """As Cloud.snapshot_volume."""
        return self._copies.volume(volume, name, cancel=cancel)

    def delete_snapshot(self, snapshot: str, *, cancel: Cancel) -> None:
        """As Cloud.delete_snapshot."""
        self._copies.delete(snapshot, cancel=cancel)

    # Names

    def domains(self, *, cancel: Cancel) -> Sequence[str]:
        """As Cloud.domains."""
        return self._names.domains(cancel=cancel)

    def records(self, domain: str, *, cancel: Cancel) -> Sequence[CloudRecord]:
        """As Cloud.records."""
        return self._names.records(domain, cancel=cancel)

    def put_record(self, record: CloudRecord, *, cancel: Cancel) -> CloudRecord:
        """As Cloud.put_record."""
        return self._names.put(record, cancel=cancel)

    def delete_record(self, record: CloudRecord, *, cancel: Cancel) -> None:
        """As Cloud.delete_record."""
        self._names.delete(record, cancel=cancel)
