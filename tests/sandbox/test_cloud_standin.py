"""The stand-in for the provider's API, seen by the provider's own client: it speaks truly, and does the real thing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Droplet

from opsctl.sandbox import cloud, cloud_shapes, vm_process

pytestmark = pytest.mark.sandbox
pydo = pytest.importorskip("pydo")


@dataclass(frozen=True)
class Rented:
    """A droplet with its provider: `client` is the vendor's own, unchanged."""

    droplet: Droplet
    client: Any
    number: int
    folder: Path
    api: str

    def faults(self, *words: str) -> dict[str, Any]:
        options = [option for word in words for option in ("--set", word)]
        said = self.droplet.opsctl.json("sandbox", "cloud", "faults", "--clear", *options)
        return dict(said["droplets"][0]["result"]["faults"])

    def act(self, **body: Any) -> str:
        return self.follow(self.client.droplet_actions.post(self.number, body=body)["action"])

    def follow(self, action: dict[str, Any]) -> str:
        assert action["status"] == "in-progress"
        while action["status"] == "in-progress":
            time.sleep(0.05)
            action = self.client.actions.get(action["id"])["action"]
        assert action["completed_at"] is not None
        return str(action["status"])

    def seen(self) -> dict[str, Any]:
        return dict(self.client.droplets.get(self.number)["droplet"])

    def answers(self) -> bool:
        return subprocess.run([*self.droplet.ssh, "true"], capture_output=True, check=False).returncode == 0

    def wait(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end
            time.sleep(0.1)

    def total(self) -> int:
        """MemTotal of the droplet, in MiB."""
        return int(self.droplet.sh("awk '/^MemTotal/ {print $2}' /proc/meminfo")) // 1024


def client_for(folder: Path, api: str, **more: Any) -> Any:
    """The vendor's client. It sends a bearer token to nobody over plain HTTP, so a policy of its own library does."""
    from azure.core.credentials import AzureKeyCredential
    from azure.core.pipeline.policies import AzureKeyCredentialPolicy

    token = (folder / "cloud-token").read_text().strip()
    policy = AzureKeyCredentialPolicy(AzureKeyCredential(token), "Authorization", prefix="Bearer")
    return pydo.Client(token, endpoint=api, authentication_policy=policy, **more)


@pytest.fixture
def rented(droplet: Droplet) -> Iterator[Rented]:
    said = re.search(r'digitalocean: (\d+), api: "([^"]+)"', droplet.stack_file.read_text())
    assert said is not None
    folder = droplet.stack_file.parent
    found = Rented(droplet, client_for(folder, said[2]), int(said[1]), folder, said[2])
    found.faults("action-time=0.05")
    yield found
    found.faults("action-time=0.05")
    if found.seen()["status"] == "off":
        found.act(type="power_on")
    found.wait(found.answers)
    found.droplet.opsctl("sandbox", "up", "--name", droplet.name)


def test_lists_droplets_sizes_and_the_account(rented: Rented) -> None:
    client = rented.client
    [listed] = client.droplets.list()["droplets"]
    assert listed == rented.seen()
    assert (listed["status"], listed["memory"], listed["size"]["price_monthly"]) == ("active", 2048, 18.0)
    assert client.droplets.list(name="nobody")["droplets"] == []
    assert [each["id"] for each in client.droplets.list(tag_name="opsctl-sandbox")["droplets"]] == [rented.number]
    assert client.account.get()["account"]["status"] == "active"

    slugs: list[str] = []
    page: dict[str, Any] = client.sizes.list(per_page=3)
    while True:
        slugs += [each["slug"] for each in page["sizes"]]
        if "next" not in page["links"].get("pages", {}):
            break
        number = re.search(r"[?&]page=(\d+)", page["links"]["pages"]["next"])
        assert number is not None
        page = client.sizes.list(per_page=3, page=int(number[1]))
    assert len(slugs) == len(set(slugs)) == page["meta"]["total"]
    assert "s-2vcpu-4gb" in slugs


def test_power_is_the_droplets_own(rented: Rented) -> None:
    before = rented.droplet.sh("cat /proc/sys/kernel/random/boot_id")
    assert rented.act(type="power_cycle") == "completed"
    rented.wait(rented.answers)
    assert rented.droplet.sh("cat /proc/sys/kernel/random/boot_id") != before

    assert rented.act(type="power_off") == "completed"
    assert (rented.seen()["status"], rented.answers()) == ("off", False)
    with pytest.raises(Exception, match="powered off"):
        rented.act(type="shutdown")
    assert rented.act(type="power_on") == "completed"
    assert rented.seen()["status"] == "active"
    rented.wait(rented.answers)

    assert rented.act(type="shutdown") == "completed"
    rented.wait(lambda: rented.seen()["status"] == "off")


def test_a_snapshot_restores_and_a_resize_is_one(rented: Rented) -> None:
    droplet, client = rented.droplet, rented.client
    volume = "/var/lib/docker/volumes/kept/_data"
    droplet.sh(f"echo then > /root/mark; docker volume create kept > /dev/null; echo then > {volume}/mark")
    for each in client.snapshots.list(resource_type="droplet")["snapshots"]:  # another file's, of the same droplet
        client.snapshots.delete(each["id"])
    assert rented.act(type="snapshot", name="before") == "completed"
    [snapshot] = client.droplets.list_snapshots(rented.number)["snapshots"]
    [same] = client.snapshots.list(resource_type="droplet")["snapshots"]
    assert (snapshot["name"], snapshot["type"], str(snapshot["id"])) == ("before", "snapshot", same["id"])
    assert rented.seen()["snapshot_ids"] == [snapshot["id"]]

    with pytest.raises(Exception, match="powered off before"):
        rented.act(type="resize", size="s-2vcpu-4gb")
    rented.act(type="power_off")
    with pytest.raises(Exception, match="smaller disk"):
        rented.act(type="resize", size="s-1vcpu-1gb")
    assert rented.act(type="resize", size="s-2vcpu-4gb", disk=False) == "completed"
    seen = rented.seen()
    assert (seen["status"], seen["memory"], seen["disk"], seen["size_slug"]) == ("off", 4096, 60, "s-2vcpu-4gb")
    rented.act(type="power_on")
    rented.wait(rented.answers)
    assert rented.total() == 4096

    droplet.sh(f"echo now > /root/mark; echo now > {volume}/mark")
    assert rented.act(type="restore", image=snapshot["id"]) == "completed"
    rented.wait(rented.answers)
    assert droplet.sh(f"cat /root/mark {volume}/mark").split() == ["then", "then"]
    assert (rented.total(), rented.seen()["memory"]) == (4096, 4096)

    rented.act(type="power_off")
    assert rented.act(type="resize", size="s-2vcpu-2gb") == "completed"
    client.snapshots.delete(same["id"])
    assert client.droplets.list_snapshots(rented.number)["snapshots"] == []
    left = subprocess.run(["docker", "volume", "ls", "-q"], capture_output=True, text=True, check=True).stdout
    assert f"-snapshot-{same['id']}" not in left


def test_records_keep_their_ttl_and_volumes_their_snapshots(rented: Rented) -> None:
    client = rented.client
    client.domains.create(body={"name": "example.com", "ip_address": "192.0.2.1"})
    first = {each["type"] for each in client.domains.list_records("example.com")["domain_records"]}
    assert first == {"NS", "A"}
    body = {"type": "A", "name": "app", "data": "192.0.2.7", "ttl": 900}
    made = client.domains.create_record("example.com", body=body)["domain_record"]
    client.domains.update_record("example.com", made["id"], body={"type": "A", "data": "192.0.2.8"})
    [found] = client.domains.list_records("example.com", type="A", name="app.example.com")["domain_records"]
    assert (found["data"], found["ttl"], found["priority"]) == ("192.0.2.8", 900, None)
    with pytest.raises(Exception, match="TTL"):
        client.domains.create_record("example.com", body=body | {"ttl": 5})
    client.domains.delete_record("example.com", made["id"])
    client.domains.delete("example.com")
    assert client.domains.list()["domains"] == []

    volume = client.volumes.create(body={"name": "data", "size_gigabytes": 10, "region": "sfo2"})["volume"]
    client.volume_actions.post_by_id(volume["id"], body={"type": "attach", "droplet_id": rented.number})
    assert rented.seen()["volume_ids"] == [volume["id"]]
    kept = client.volume_snapshots.create(volume["id"], body={"name": "nightly"})["snapshot"]
    assert [each["id"] for each in client.snapshots.list(resource_type="volume")["snapshots"]] == [kept["id"]]
    client.snapshots.delete(kept["id"])
    client.volume_actions.post_by_id(volume["id"], body={"type": "detach", "droplet_id": rented.number})
    client.volumes.delete(volume["id"])


def test_it_fails_as_it_is_told_to(rented: Rented) -> None:
    assert rented.faults("429=1", "retry-after=7")["429"] == 1
    with pytest.raises(Exception, match="rate limit") as limited:
        client_for(rented.folder, rented.api, retry_total=0).account.get()
    headers = limited.value.response.headers  # type: ignore[attr-defined]
    assert (headers["Retry-After"], headers["ratelimit-limit"]) == ("7", "5000")
    assert int(headers["ratelimit-remaining"]) < 5000

    rented.faults("503=1")
    with pytest.raises(Exception, match="Server Error"):
        client_for(rented.folder, rented.api, retry_total=0).account.get()
    rented.faults("reset=1")
    with pytest.raises(Exception, match=r"(?i)reset|aborted"):
        client_for(rented.folder, rented.api, retry_total=0).account.get()
    rented.faults("lost=1", "action-time=0.05")
    with pytest.raises(Exception, match=r"(?i)reset|aborted"):
        client_for(rented.folder, rented.api, retry_total=0).domains.create(body={"name": "lost.example.com"})
    rented.client.domains.delete("lost.example.com")

    boot = rented.droplet.sh("cat /proc/sys/kernel/random/boot_id")
    rented.faults("errored=1", "action-time=0.05")
    assert rented.act(type="power_cycle") == "errored"
    assert rented.droplet.sh("cat /proc/sys/kernel/random/boot_id") == boot
    rented.faults("stays-off=1", "action-time=0.05")
    assert rented.act(type="power_cycle") == "completed"
    assert rented.seen()["status"] == "off"


def test_nobody_gets_in_without_the_token_and_a_droplet_is_busy_once(rented: Rented) -> None:
    stranger = pydo.Client("x", endpoint=rented.api)
    with pytest.raises(Exception, match="not permitted for non-TLS"):
        stranger.account.get()
    asked = subprocess.run(
        ["curl", "-s", "-H", "Authorization: Bearer x", f"{rented.api}/v2/account"], capture_output=True, check=True
    )
    assert json.loads(asked.stdout)["id"] == "Unauthorized"
    assert (rented.folder / "cloud-token").stat().st_mode & 0o777 == 0o600

    rented.faults("action-time=3")
    action = rented.client.droplet_actions.post(rented.number, body={"type": "reboot"})["action"]
    assert rented.seen()["locked"]
    with pytest.raises(Exception, match="pending event"):
        rented.client.droplet_actions.post(rented.number, body={"type": "power_off"})
    assert rented.follow(action) == "completed"
    assert rented.client.droplets.get(1)["id"] == "not_found"


def test_up_mends_it_after_a_kill_and_status_says_so(rented: Rented) -> None:
    name, folder = rented.droplet.name, rented.folder
    rented.client.domains.create(body={"name": "kept.example.com"})
    rented.faults("action-time=30")
    action = rented.client.droplet_actions.post(rented.number, body={"type": "snapshot", "name": "cut short"})["action"]
    owner = vm_process.owner(folder / "cloud", cloud.PIDFILE)
    assert owner is not None
    os.kill(owner, signal.SIGKILL)
    shown = rented.droplet.opsctl("sandbox", "status", "--name", name)
    assert "does not answer" in shown.stdout
    up = rented.droplet.opsctl("sandbox", "up", "--name", name)
    assert up.returncode == 0, up.stderr
    assert rented.api in rented.droplet.opsctl("sandbox", "status", "--name", name).stdout
    assert rented.client.actions.get(action["id"])["action"]["status"] == "errored"
    rented.client.domains.delete("kept.example.com")
    assert rented.answers()


def test_a_droplets_number_is_its_own() -> None:
    assert cloud_shapes.droplet_id("a") == cloud_shapes.droplet_id("a") != cloud_shapes.droplet_id("b")
