"""Actions to their real end: what the provider says, and what the droplet is."""

from __future__ import annotations

import threading

import pytest
from tests.cloud.provider import Fault, Provider

from opsctl.cloud import following
from opsctl.cloud.digitalocean import DigitalOcean
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import CloudRecord
from opsctl.model.errors import DeadlineExceeded, Interrupted, StepFailed


@pytest.mark.parametrize("kind", ["reboot", "power_cycle", "power_on"])
def test_an_errored_action_is_a_failure(cloud: DigitalOcean, provider: Provider, cancel: Cancel, kind: str) -> None:
    number = provider.add_droplet("a")
    provider.errored = [kind]
    with pytest.raises(StepFailed) as failed:
        getattr(cloud, kind)(number, cancel=cancel)
    assert failed.value.info.code == "action-errored"


def test_the_last_state_is_told_while_an_action_lasts(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    provider.polls = 3
    told: list[str] = []
    cloud.reboot(number, cancel=cancel, tell=told.append)
    (action,) = provider.actions
    assert f"reboot in progress (action {action})" in told


def test_ctrl_c_leaves_a_slow_action_to_the_provider_and_says_which(cloud: DigitalOcean, provider: Provider) -> None:
    number = provider.add_droplet("a")
    provider.polls = 10**9
    cancel = Cancel(60.0)
    looked = threading.Event()

    def tell(state: str) -> None:
        if "in progress" in state:
            looked.set()

    def press() -> None:
        looked.wait(10)
        cancel.cancel(2)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(Interrupted) as cut:
        cloud.reboot(number, cancel=cancel, tell=tell)
    thread.join()
    (action,) = provider.actions
    assert f"action {action} of droplet {number} goes on" in cut.value.info.why
    assert cut.value.exit_code == 130


def test_an_action_that_never_ends_is_bounded(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = provider.add_droplet("a")
    provider.polls = 10**9
    monkeypatch.setitem(following.BOUNDS, "reboot", 0.3)
    with pytest.raises(DeadlineExceeded) as late:
        cloud.reboot(number, cancel=cancel)
    assert "last seen in-progress" in late.value.info.why


def test_completed_and_off_is_switched_on(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    provider.stays = {"power_cycle": "off"}
    told: list[str] = []
    cloud.power_cycle(number, cancel=cancel, tell=told.append)
    assert provider.droplets[number]["status"] == "active"
    assert "power_cycle is completed, but the droplet is off: switching it on" in told


def test_completed_and_off_for_good_is_a_failure(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    provider.stays = {"power_cycle": "off", "power_on": "off"}
    with pytest.raises(StepFailed, match="is off, not active") as failed:
        cloud.power_cycle(number, cancel=cancel)
    assert failed.value.info.code == "power-state"


@pytest.mark.parametrize("way", ["active", "errored"])
def test_a_system_that_does_not_go_is_cut_off(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel, way: str
) -> None:
    number = provider.add_droplet("a")
    provider.errored, provider.stays = (["shutdown"], {}) if way == "errored" else ([], {"shutdown": "active"})
    cloud.power_off(number, cancel=cancel)
    assert [each["type"] for each in provider.actions.values()] == ["shutdown", "power_off"]
    assert provider.droplets[number]["status"] == "off"


def test_what_is_under_way_is_waited_for(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    provider.begin(number, {"type": "snapshot", "name": "somebody else's"})
    told: list[str] = []
    cloud.reboot(number, cancel=cancel, tell=told.append)
    assert [each["status"] for each in provider.actions.values()] == ["completed", "completed"]
    assert "waiting for the snapshot that is under way" in told


def test_a_resize_is_believed_when_the_droplet_has_the_size(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = provider.add_droplet("a")
    provider.droplets[number]["status"] = "off"
    cloud.resize(number, "s-2vcpu-4gb", disk=False, cancel=cancel)
    assert cloud.droplet(number, cancel=cancel).size == "s-2vcpu-4gb"
    monkeypatch.setattr(Provider, "finish", lambda _, action: action.update(status="completed"))
    with pytest.raises(StepFailed, match="is completed, but droplet"):
        cloud.resize(number, "s-4vcpu-8gb", disk=False, cancel=cancel)


def test_a_snapshot_is_made_once_also_when_its_answer_is_lost(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel
) -> None:
    number = provider.add_droplet("a", volumes=("v1",))
    provider.faults = [Fault("POST /v2/droplets", "lost"), Fault("POST /v2/volumes", "lost")]
    first = cloud.snapshot(number, "mine", cancel=cancel)
    volume = cloud.snapshot_volume("v1", "mine", cancel=cancel)
    assert cloud.snapshot(number, "mine", cancel=cancel) == first
    assert cloud.snapshot_volume("v1", "mine", cancel=cancel) == volume
    every = cloud.snapshots(number, cancel=cancel)
    assert sorted((each.of_kind, each.name) for each in every) == [("droplet", "mine"), ("volume", "mine")]


def test_deleting_what_is_gone_is_no_error(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    copy = provider.add_snapshot("old", str(number), created="2026-01-01T00:00:00Z")
    provider.faults = [Fault("DELETE", "lost")]
    cloud.delete_snapshot(copy, cancel=cancel)
    assert provider.snapshots == {}
    assert len(provider.lines("DELETE")) == 2


def test_records_are_made_changed_and_deleted(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.records = {"example.com": []}
    provider.faults = [Fault("POST", "lost")]
    made = cloud.put_record(CloudRecord(0, "example.com", "A", "api", "203.0.113.7", 900), cancel=cancel)
    assert [each["data"] for each in provider.records["example.com"]] == ["203.0.113.7"]
    assert (made.host, made.ttl) == ("api.example.com", 900)
    provider.faults = [Fault("PUT", 500)]
    changed = cloud.put_record(CloudRecord(made.id, "example.com", "A", "api", "203.0.113.8", 60), cancel=cancel)
    assert cloud.records("example.com", cancel=cancel) == (changed,)
    cloud.delete_record(changed, cancel=cancel)
    cloud.delete_record(changed, cancel=cancel)
    assert cloud.records("example.com", cancel=cancel) == ()
