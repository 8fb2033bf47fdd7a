"""What would be done through the provider: steps, questions, costs, and what is never deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from opsctl.jobs import droplet_plan
from opsctl.jobs.droplet_find import host_of
from opsctl.model.cloud import CloudDroplet, CloudSize, CloudSnapshot, CloudVolume
from opsctl.model.errors import UsageError
from opsctl.model.plan import Plan

GIB, GB = 2**30, 10**9
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
DROPLET = CloudDroplet(
    id=7,
    name="do-agents",
    status="active",
    address="203.0.113.7",
    private_address="",
    region="sfo2",
    size="s-2vcpu-2gb",
    vcpus=2,
    memory=2 * GIB,
    disk=60 * GB,
    price=18.0,
    volumes=("v1",),
    tags=(),
    created="2026-01-10T00:00:00Z",
    locked=False,
    console="https://example.com",
)
OFF = replace(DROPLET, status="off")


def size(slug: str, memory: int, disk: int, price: float, *regions: str) -> CloudSize:
    return CloudSize(slug, memory * GIB, 2, disk * GB, price, regions or ("sfo2",), True, "Basic")


SIZES = (
    size("s-1vcpu-1gb", 1, 25, 6.0),
    size("s-2vcpu-2gb", 2, 60, 18.0),
    size("s-2vcpu-4gb", 4, 80, 24.0),
    size("s-4vcpu-8gb", 8, 160, 48.0, "nyc1"),
)


def copy(name: str, *, days: float, of: str = "7", gigabytes: int = 3) -> CloudSnapshot:
    made = f"{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    kind = "droplet" if of == "7" else "volume"
    return CloudSnapshot(f"{name}/{of}", name, made, gigabytes * GB, of, kind)  # type: ignore[arg-type]


def ours(days: float, **more: str | int) -> CloudSnapshot:
    return copy(f"opsctl-agents-{NOW - timedelta(days=days):%Y%m%dT%H%M%SZ}", days=days, **more)  # type: ignore[arg-type]


def kinds(plan: Plan) -> list[str]:
    return [step.action.kind for step in plan.steps]


def test_a_resize_is_off_resized_on_and_back() -> None:
    proposal = droplet_plan.resize(DROPLET, "agents", "s-2vcpu-4gb", SIZES, disk=False, back=60)
    assert kinds(proposal.plan) == ["cloud-power-off", "cloud-resize", "cloud-power-on", "cloud-back"]
    off, change, on, back = proposal.plan.steps
    assert (change.needs, on.needs, back.needs) == ((off.id,), (change.id,), (on.id,))
    assert off.undo is not None
    assert off.undo.kind == "cloud-power-on"
    assert [each.price for each in proposal.costs] == [18.0, 24.0]
    assert not proposal.by_name
    assert proposal.power


def test_growing_the_disk_wants_the_name() -> None:
    proposal = droplet_plan.resize(DROPLET, "agents", "s-2vcpu-4gb", SIZES, disk=True, back=60)
    assert proposal.by_name
    assert "cannot shrink again" in proposal.question


def test_after_an_interrupted_resize_only_the_rest_is_left() -> None:
    resized = replace(OFF, size="s-2vcpu-4gb")
    assert kinds(droplet_plan.resize(resized, "agents", "s-2vcpu-4gb", SIZES, disk=False, back=0).plan) == [
        "cloud-power-on"
    ]
    done = droplet_plan.resize(replace(resized, status="active"), "agents", "s-2vcpu-4gb", SIZES, disk=False, back=0)
    assert not done.changes
    assert done.notes == ("agents is s-2vcpu-4gb already",)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("s-2vcpu-3gb", "there is no size"),
        ("s-4vcpu-8gb", "cannot be had in sfo2"),
        ("s-1vcpu-1gb", "the disk of s-1vcpu-1gb is too small"),
    ],
)
def test_a_size_that_cannot_be_is_refused_before_anything_stops(wanted: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        droplet_plan.resize(DROPLET, "agents", wanted, SIZES, disk=False, back=0)


@pytest.mark.parametrize("propose", [droplet_plan.reboot, droplet_plan.power_cycle])
def test_one_that_is_off_is_switched_on(propose) -> None:  # type: ignore[no-untyped-def]
    assert kinds(propose(OFF, "agents", 60).plan) == ["cloud-power-on", "cloud-back"]
    assert propose(DROPLET, "agents", 60).question


def proposed(*copies: CloudSnapshot, keep_days: float | None = 7) -> droplet_plan.Proposal:
    keep = None if keep_days is None else keep_days * 86400
    volumes = [CloudVolume("v1", "data", 10 * GB, "sfo2")]
    return droplet_plan.snapshot(DROPLET, "agents", volumes, copies, now=NOW, keep=keep)


def deleted(proposal: droplet_plan.Proposal) -> set[str]:
    return {step.action.to_json()["snapshot"] for step in proposal.plan.steps if "delete" in step.action.kind}


def test_a_droplet_and_its_volumes_are_copied_under_one_name() -> None:
    disk, volume = proposed().plan.steps
    assert disk.action.to_json()["name"] == volume.action.to_json()["name"] == "opsctl-agents-20261120T220000Z"


def test_only_our_own_old_ones_go_and_after_all_copies_are_made() -> None:
    old, old_volume, young = ours(9), ours(9, of="v1"), ours(2)
    theirs = copy("before-the-upgrade", days=400)
    alike = copy("opsctl-agents-by-hand", days=400)
    proposal = proposed(theirs, alike, old, old_volume, young)
    assert deleted(proposal) == {old.id, old_volume.id}
    made = tuple(step.id for step in proposal.plan.steps[:2])
    assert all(step.needs == made and step.destructive for step in proposal.plan.steps[2:])
    assert proposal.by_name, "--yes must not delete"
    assert not deleted(proposed(old, young, keep_days=None))


def test_the_newest_never_goes() -> None:
    assert not deleted(proposed(ours(30), ours(30, of="v1")))
    older = ours(31)
    assert deleted(proposed(older, ours(30), ours(30, of="v1"))) == {older.id}
    assert not proposed(ours(30)).by_name


def test_a_copy_whose_age_is_unknown_stays() -> None:
    assert not deleted(proposed(replace(ours(30), created="yesterday"), ours(1)))


def test_costs_are_those_of_the_last_copy_else_at_most_of_all() -> None:
    disk, volume = proposed(keep_days=None).costs
    assert (disk.price, disk.most) == (pytest.approx(3.6), True)
    assert (volume.price, volume.most) == (pytest.approx(0.6), True)
    disk, _, back = proposed(ours(9), ours(2)).costs
    assert (disk.price, disk.most) == (pytest.approx(0.18), False)
    assert back.price == pytest.approx(-0.18)


def test_a_name_of_ones_own_is_not_one_that_would_be_deleted() -> None:
    with pytest.raises(UsageError, match="looks like a name of opsctl's own"):
        droplet_plan.snapshot(DROPLET, "a", (), (), now=NOW, keep=None, own_name="opsctl-a-20261120T220000Z")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("root@203.0.113.7:2222", "203.0.113.7"),
        ("203.0.113.7", "203.0.113.7"),
        ("root@[2001:db8::7]:22", "2001:db8::7"),
        ("root@2001:db8::7", "2001:db8::7"),
        ("local", ""),
    ],
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert host_of(address) == host
