"""`opsctl droplet` as it is typed: questions, costs, failures, what is left behind, and the token nowhere."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.cloud.provider import TOKEN, Provider, serve
from tests.conftest import Droplet, Opsctl

from opsctl.cli import schema
from opsctl.hosts import connect
from opsctl.hosts.base import AgentHost
from opsctl.model.cancel import Cancel
from opsctl.model.ports import GuardSpec
from opsctl.model.stackfile_load import read_stack


@dataclass
class Account:
    """A stack of one droplet that nobody answers for, and the provider it is rented from."""

    provider: Provider
    number: int
    opsctl: Opsctl
    folder: Path

    @property
    def there(self) -> dict[str, Any]:
        return self.provider.droplets[self.number]

    def json(self, *words: str) -> dict[str, Any]:
        document = self.opsctl.json(*words)
        jsonschema.validate(document, schema.document(document["schema"].removeprefix("opsctl.").partition("/")[0]))
        return document

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "state/opsctl/audit.jsonl").read_text().splitlines()]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with socket.socket() as unused, serve() as provider:
        unused.bind(("127.0.0.1", 0))  # bound, and nobody listens
        number = provider.add_droplet("do-agents", address="127.0.0.1", volumes=("v1",))
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        (tmp_path / "token").chmod(0o600)
        (tmp_path / "opsctl.yaml").write_text(
            "version: 1\ndroplets:\n  agents:\n"
            f"    address: root@127.0.0.1:{unused.getsockname()[1]}\n"
            f"    provider: {{digitalocean: {number}, api: '{provider.url}', token_file: token}}\n"
        )
        environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "OPSCTL_STACK": str(tmp_path / "opsctl.yaml")}
        yield Account(provider, number, Opsctl(environment, tmp_path), tmp_path)


def test_reading_and_the_token_nowhere(account: Account) -> None:
    account.provider.add_droplet("stranger", address="203.0.113.9")
    account.provider.add_snapshot("by hand", "v1", created="2026-11-01T00:00:00Z", gigabytes=10)
    listed = account.json("droplet", "list")
    assert [(each["name"], each["result"]["stack"]) for each in listed["droplets"]] == [
        ("agents", "agents"),
        ("stranger", ""),
    ]
    shown = account.json("droplet", "show")["droplets"][0]["result"]
    assert (shown["droplet"]["price"], shown["snapshots_price"]) == (18.0, 0.6)
    sizes = account.json("droplet", "sizes")["droplets"][0]["result"]["sizes"]
    assert [each["slug"] for each in sizes] == ["s-2vcpu-2gb", "s-2vcpu-4gb", "s-4vcpu-8gb"]
    text = account.opsctl("droplet", "show", "-vv")
    assert "console" in text.stdout
    written = [path.read_text() for path in account.folder.rglob("*") if path.is_file() and path.name != "token"]
    assert TOKEN not in "".join([text.stdout, text.stderr, json.dumps(listed), *written])


def test_a_token_that_others_can_read_is_refused(account: Account) -> None:
    (account.folder / "token").chmod(0o644)
    done = account.opsctl("droplet", "list")
    assert (done.returncode, account.provider.seen) == (3, [])
    assert f"next chmod 600 {account.folder}/token" in done.stderr


def test_a_droplet_without_a_number_is_found_by_its_address(account: Account) -> None:
    stack = account.folder / "opsctl.yaml"
    stack.write_text(re.sub(r"digitalocean: \d+, ", "", stack.read_text()))
    assert account.json("droplet", "show")["droplets"][0]["result"]["droplet"]["id"] == account.number
    account.there["networks"] = {"v4": []}
    lost = account.json("droplet", "show")
    assert lost["exit_code"] == 3
    assert "provider: {digitalocean: NUMBER}" in lost["droplets"][0]["error"]["next"]


def test_a_reboot_asks_goes_on_without_a_lease_and_is_audited_here(account: Account) -> None:
    refused = account.opsctl("droplet", "reboot")
    assert (refused.returncode, account.provider.actions) == (2, {})
    assert "next opsctl droplet reboot --yes" in refused.stderr
    done = account.opsctl("droplet", "reboot", "--yes", "--ssh-wait", "0")
    assert done.returncode == 0, done.stderr
    assert "going on without the lease of agents: 127.0.0.1" in done.stderr
    begin, end = account.audit()
    assert (begin["event"], begin["droplet"]) == ("begin", "agents")
    assert begin["command"] == "opsctl droplet reboot --yes --ssh-wait 0"
    assert (end["event"], end["outcome"], end["run"]) == ("end", "done", begin["run"])


def test_a_dry_run_shows_everything_and_does_nothing(account: Account) -> None:
    plan = account.json("droplet", "resize", "s-2vcpu-4gb", "--dry-run")["droplets"][0]["result"]
    assert [each["price"] for each in plan["costs"]] == [18.0, 24.0]
    assert account.opsctl("droplet", "snapshot", "--dry-run").returncode == 0
    assert not account.provider.lines("POST|PUT|DELETE")
    assert not (account.folder / "state/opsctl/audit.jsonl").exists()


def test_an_errored_action_is_a_failure_that_says_how_to_go_on(account: Account) -> None:
    account.provider.errored = ["power_cycle"]
    done = account.json("droplet", "power-cycle", "--yes", "--ssh-wait", "0")
    (droplet,) = done["droplets"]
    assert (done["exit_code"], droplet["error"]["code"]) == (1, "action-errored")
    assert droplet["error"]["next"].endswith("opsctl droplet power-cycle --yes --ssh-wait 0 --json")
    assert account.audit()[-1]["outcome"] == "failed"


def test_what_does_not_come_back_is_unreachable(account: Account) -> None:
    done = account.json("droplet", "power-cycle", "--yes", "--ssh-wait", "1")
    assert (done["exit_code"], done["droplets"][0]["error"]["code"]) == (4, "not-back")
    assert "opsctl recover -d agents" in done["droplets"][0]["error"]["next"]


def test_a_resize_that_errors_leaves_the_droplet_on(account: Account) -> None:
    account.provider.errored = ["resize"]
    done = account.opsctl("droplet", "resize", "s-2vcpu-4gb", "--yes", "--ssh-wait", "0")
    assert done.returncode == 1
    assert (account.there["status"], account.there["size_slug"]) == ("active", "s-2vcpu-2gb")
    assert "switched on again" in done.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_resize_is_brought_to_its_end_by_the_same_command(account: Account, how: signal.Signals) -> None:
    words = ("droplet", "resize", "s-2vcpu-4gb", "--yes", "--ssh-wait", "0")
    process = account.opsctl.start(*words)
    deadline = time.monotonic() + 30
    while not any(each["type"] == "resize" for each in account.provider.actions.values()):
        # From the moment that it is off, actions do not end any more.
        if account.there["status"] == "off":
            account.provider.polls = 10**9
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert account.there["status"] == "off"
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert "note: the droplet is off" in out
        assert "next opsctl droplet resize s-2vcpu-4gb --yes --ssh-wait 0" in err
    account.provider.polls = 0
    account.provider.left = dict.fromkeys(account.provider.left, 0)
    again = account.opsctl(*words)
    assert again.returncode == 0, again.stderr
    assert (account.there["status"], account.there["size_slug"]) == ("active", "s-2vcpu-4gb")
    assert [each["type"] for each in account.provider.actions.values()] == ["shutdown", "resize", "power_on"]
    third = account.json(*words)["droplets"][0]["result"]
    assert third["notes"] == ["agents is s-2vcpu-4gb already"]


def test_a_snapshot_takes_the_volumes_along_and_old_ones_go_by_name(account: Account) -> None:
    def named(days: int) -> str:
        return f"opsctl-agents-{datetime.now(UTC) - timedelta(days=days):%Y%m%dT%H%M%SZ}"

    def add(name: str, days: int, of: str) -> str:
        made = f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
        return account.provider.add_snapshot(name, of, created=made)

    disk = str(account.number)
    old = {add(named(9), 9, disk), add(named(9), 9, "v1")}
    kept = {add("by hand", 400, disk), add(named(3), 3, disk), add(named(3), 3, "v1")}
    words = ("droplet", "snapshot", "--keep", "7d", "--yes")
    asked = account.opsctl(*words)
    assert (asked.returncode, len(account.provider.snapshots)) == (2, 5)
    assert "next opsctl droplet snapshot --keep 7d --yes --confirm agents" in asked.stderr
    assert account.opsctl(*words, "--confirm", "other").returncode == 2
    done = account.opsctl(*words, "--confirm", "agents")
    assert done.returncode == 0, done.stderr
    assert "$0.18 a month" in done.stderr
    left = account.provider.snapshots
    assert kept < set(left)
    assert not old & set(left)
    new = [left[each] for each in set(left) - kept]
    assert {each["resource_type"] for each in new} == {"droplet", "volume"}
    assert len({each["name"] for each in new}) == 1


def test_old_ones_stay_when_a_copy_fails(account: Account) -> None:
    account.provider.add_snapshot("opsctl-agents-20200101T000000Z", "v1", created="2020-01-01T00:00:00Z")
    account.provider.add_snapshot("opsctl-agents-20200201T000000Z", "v1", created="2020-02-01T00:00:00Z")
    account.provider.errored = ["snapshot"]
    done = account.json("droplet", "snapshot", "--keep", "7d", "--yes", "--confirm", "agents")
    assert done["exit_code"] == 1
    assert {"20200101T000000Z", "20200201T000000Z"} <= {
        each["name"].rpartition("-")[2] for each in account.provider.snapshots.values()
    }
    assert not account.provider.lines("DELETE")


def test_records_are_set_kept_and_put_back(account: Account) -> None:
    zone = account.provider.records["example.com"] = [
        {"id": 5, "type": "A", "name": "api", "data": "203.0.113.7", "ttl": 900}
    ]
    words = ("droplet", "dns", "set", "api.example.com", "A")
    asked = account.opsctl(*words, "203.0.113.8")
    assert (asked.returncode, zone[0]["data"]) == (2, "203.0.113.7")
    assert "api.example.com A 203.0.113.7 (TTL 900) → api.example.com A 203.0.113.8 (TTL 1800)" in asked.stderr
    assert account.json(*words, "203.0.113.8", "--ttl", "60", "--yes")["ok"]
    assert (zone[0]["data"], zone[0]["ttl"]) == ("203.0.113.8", 60)
    again = account.json(*words, "203.0.113.8", "--ttl", "60", "--yes")["droplets"][0]["result"]
    assert again["run"] is None
    shown = account.json("droplet", "dns", "show", "api.example.com")["droplets"][0]["result"]
    assert shown["kept"][0]["before"]["data"] == "203.0.113.7"
    zone[0]["data"] = "198.51.100.1"
    moved = account.opsctl("droplet", "dns", "restore", "--yes")
    assert (moved.returncode, zone[0]["data"]) == (1, "198.51.100.1")
    assert "next opsctl droplet dns set api.example.com A 203.0.113.7 --ttl 900" in moved.stderr
    zone[0]["data"] = "203.0.113.8"
    assert account.json("droplet", "dns", "restore", "--yes")["ok"]
    assert (zone[0]["data"], zone[0]["ttl"]) == ("203.0.113.7", 900)
    assert account.opsctl("droplet", "dns", "restore", "--yes").returncode == 2


def test_a_new_record_is_taken_away_again_and_several_are_not_guessed_at(account: Account) -> None:
    account.provider.records["example.com"] = [
        {"id": 1, "type": "A", "name": "@", "data": "203.0.113.1", "ttl": 60},
        {"id": 2, "type": "A", "name": "@", "data": "203.0.113.2", "ttl": 60},
    ]
    several = account.opsctl("droplet", "dns", "set", "example.com", "A", "203.0.113.3", "--yes")
    assert several.returncode == 2
    assert "--replace 203.0.113.1" in several.stderr
    assert account.opsctl("droplet", "dns", "set", "www.example.com", "CNAME", "example.com", "--yes").returncode == 0
    assert account.provider.records["example.com"][-1]["data"] == "example.com."
    assert account.opsctl("droplet", "dns", "restore", "www.example.com", "--yes").returncode == 0
    assert len(account.provider.records["example.com"]) == 2
    wrong = account.opsctl("droplet", "dns", "set", "www.example.com", "AAAA", "203.0.113.3", "--yes")
    assert (wrong.returncode, "no address of type AAAA" in wrong.stderr) == (2, True)


@pytest.mark.sandbox
def test_a_real_reboot_holds_the_lease_and_is_told_once(droplet: Droplet, tmp_path: Path) -> None:
    """Against the sandbox's stand-in: the droplet really starts anew, and nobody's run is cut."""
    opsctl = Opsctl({**droplet.opsctl.environment, "XDG_STATE_HOME": str(tmp_path)}, tmp_path)
    before = droplet.sh("cat /proc/sys/kernel/random/boot_id")
    with ssh_host(droplet) as host:
        guard = host.guard(GuardSpec("stack", "a-run", {"user": "somebody"}), cancel=Cancel(30))
        busy = opsctl.json("droplet", "reboot", "--yes")
        assert (busy["exit_code"], busy["droplets"][0]["error"]["code"]) == (6, "lease-held")
        assert droplet.sh("cat /proc/sys/kernel/random/boot_id") == before
        guard.release()
    done = opsctl.json("droplet", "reboot", "--yes")
    assert done["exit_code"] == 0, done
    assert "new boot" in done["droplets"][0]["result"]["run"]["steps"][-1]["detail"]
    assert droplet.sh("cat /proc/sys/kernel/random/boot_id") != before
    runs = [(each["run"], each["outcome"]) for each in opsctl.json("audit")["droplets"][0]["result"]["runs"]]
    assert runs == [(done["run_id"], "done")], "what was refused was never begun"


@contextmanager
def ssh_host(droplet: Droplet) -> Iterator[AgentHost]:
    """A connection of somebody else's."""
    stack = read_stack(droplet.stack_file.read_text(), droplet.stack_file, environ={})
    host = connect(stack.droplets[droplet.name])
    try:
        yield host
    finally:
        host.close()
