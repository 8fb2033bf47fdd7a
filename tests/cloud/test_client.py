"""Requests: pages, rate limits, faults, and what is never repeated."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest
from tests.cloud.provider import TOKEN, Fault, Provider, serve

from opsctl.cloud import client, connect_cloud
from opsctl.cloud.answers import spacing
from opsctl.cloud.digitalocean import DigitalOcean
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, Interrupted, OpsError, StepFailed, UnreachableError, UsageError


def test_all_pages_are_read(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.page = 2
    for number in range(5):
        provider.add_droplet(f"droplet-{number}")
    assert [each.name for each in cloud.droplets(cancel=cancel)] == [f"droplet-{number}" for number in range(5)]
    assert len(provider.lines("GET /v2/droplets")) == 3


def test_a_link_elsewhere_does_not_get_the_token(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.page = 1
    provider.add_droplet("a")
    provider.add_droplet("b")
    with serve() as stranger:
        own, provider.url = provider.url, stranger.url
        assert len(cloud.droplets(cancel=cancel)) == 2
        provider.url = own
        assert stranger.seen == []


def test_a_rate_limit_is_waited_for_as_long_as_it_says(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.faults = [Fault("GET /v2/droplets", 429, {"Retry-After": "1"})]
    assert cloud.droplets(cancel=cancel) == ()
    first, second = provider.seen
    assert second.at - first.at >= 1.0


def test_the_time_of_the_next_request_may_be_told_as_a_reset(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel
) -> None:
    provider.faults = [Fault("GET", 429, {"ratelimit-reset": str(int(time.time()) + 2)})]
    assert cloud.droplets(cancel=cancel) == ()
    first, second = provider.seen
    assert second.at - first.at >= 0.5  # two seconds, less what the whole seconds of its clock leave out


def test_a_rate_limit_that_lasts_is_told_and_not_waited_for(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel
) -> None:
    provider.faults = [Fault("GET", 429, {"Retry-After": "1800"})]
    with pytest.raises(UnreachableError) as limited:
        cloud.droplets(cancel=cancel)
    assert limited.value.info.code == "rate-limit"
    assert "sleep 1800" in limited.value.info.next
    assert len(provider.seen) == 1


@pytest.mark.parametrize("kind", [500, 502, 503, "reset"])
def test_a_read_is_repeated(cloud: DigitalOcean, provider: Provider, cancel: Cancel, kind: int | str) -> None:
    provider.add_droplet("a")
    provider.faults = [Fault("GET", kind), Fault("GET", kind)]
    assert len(cloud.droplets(cancel=cancel)) == 1
    assert len(provider.seen) == 3


def test_a_fault_that_stays_is_told_in_the_end(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.faults = [Fault("GET", 503) for _ in range(9)]
    with pytest.raises(UnreachableError, match="HTTP 503"):
        cloud.droplets(cancel=cancel)
    assert len(provider.seen) == client.ATTEMPTS


def test_nobody_there_is_unreachable(tmp_path: Path, cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF", 0.01)
    found = connect_cloud(
        {"api": "http://127.0.0.1:9"}, learn=lambda _: None, folder=tmp_path, environ={"DIGITALOCEAN_TOKEN": TOKEN}
    )
    with pytest.raises(UnreachableError, match="cannot be reached"):
        found.droplets(cancel=cancel)


def test_a_wrong_token_is_a_matter_of_configuration(provider: Provider, tmp_path: Path, cancel: Cancel) -> None:
    secret = "dop_v1_this-one-is-wrong"
    learned = []
    found = connect_cloud(
        {"api": provider.url}, learn=learned.append, folder=tmp_path, environ={"DIGITALOCEAN_TOKEN": secret}
    )
    with pytest.raises(ConfigError) as refused:
        found.droplets(cancel=cancel)
    found.close()
    assert refused.value.info.code == "token-refused"
    assert secret not in str(refused.value.info)
    assert [each.reveal() for each in learned] == [secret]
    assert len(provider.seen) == 1


def test_a_token_without_the_scope_says_so(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.faults = [Fault("GET", 403)]
    with pytest.raises(ConfigError) as refused:
        cloud.droplets(cancel=cancel)
    assert refused.value.info.code == "token-scope"


def test_an_unknown_droplet_is_named(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.add_droplet("there")
    with pytest.raises(UsageError, match="no droplet 424242"):
        cloud.droplet(424242, cancel=cancel)
    with pytest.raises(UsageError) as named:
        cloud.droplet("elsewhere", cancel=cancel)
    assert "the account has there" in named.value.info.why
    provider.add_droplet("there")
    with pytest.raises(UsageError, match="2 droplets named there"):
        cloud.droplet("there", cancel=cancel)


def test_something_else_at_the_address_is_no_bug(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    provider.faults = [Fault("GET", 200)]
    assert cloud.droplets(cancel=cancel) == ()  # JSON, but nobody's list


def test_ctrl_c_ends_a_request_that_hangs(cloud: DigitalOcean, provider: Provider) -> None:
    provider.faults = [Fault("GET", "hang")]
    cancel = Cancel(60.0)

    def press() -> None:
        provider.hanging.wait(10)
        cancel.cancel(2)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(Interrupted):
        cloud.droplets(cancel=cancel)
    thread.join()
    assert len(provider.seen) == 1


def test_a_request_that_hangs_is_given_up_and_repeated(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER", 0.3)
    provider.faults = [Fault("GET", "hang")]
    assert cloud.droplets(cancel=cancel) == ()
    assert len(provider.seen) == 2


@pytest.mark.parametrize("kind", ["lost", 500, "reset"])
def test_a_change_whose_answer_was_lost_is_looked_for_first(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel, kind: str | int
) -> None:
    """`lost` did it: it is followed. The others did not: it is asked for again, once."""
    number = provider.add_droplet("a")
    provider.faults = [Fault("POST", kind)]
    done = cloud.reboot(number, cancel=cancel)
    assert done.status == "completed"
    assert [each["type"] for each in provider.actions.values()] == ["reboot"]
    lines = [each for each in provider.lines("actions") if not each.startswith("GET /v2/actions")]
    begun = lines.index(f"POST /v2/droplets/{number}/actions")
    assert lines[begun + 1].startswith("GET"), "looked before it was repeated"


def test_a_change_that_is_never_begun_is_a_failure(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    provider.faults = [Fault("POST", 500) for _ in range(9)]
    with pytest.raises(UnreachableError, match="fault of its own") as failed:
        cloud.reboot(number, cancel=cancel)
    assert "was not begun" in failed.value.info.why
    assert provider.actions == {}


def test_a_limited_change_is_repeated_because_it_was_not_done(
    cloud: DigitalOcean, provider: Provider, cancel: Cancel
) -> None:
    number = provider.add_droplet("a")
    provider.faults = [Fault("POST", 429, {"Retry-After": "0"})]
    cloud.reboot(number, cancel=cancel)
    assert len(provider.actions) == 1


def test_a_refusal_says_why(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    with pytest.raises(StepFailed) as refused:
        cloud.resize(number, "s-2vcpu-4gb", disk=False, cancel=cancel)
    assert "Droplet must be off" in refused.value.info.why
    assert isinstance(refused.value, OpsError)


def test_what_is_left_of_the_rate_limit_is_spread() -> None:
    def headers(left: int) -> dict[str, str]:
        return {"ratelimit-remaining": str(left), "ratelimit-reset": str(int(time.time()) + 600)}

    assert spacing(headers(4000)) == 0.0
    assert 5.0 <= spacing(headers(100)) <= 6.0
    assert spacing(headers(0)) == 30.0
    assert spacing({}) == 0.0


def test_looks_are_spaced_out_when_little_is_left(cloud: DigitalOcean, provider: Provider, cancel: Cancel) -> None:
    number = provider.add_droplet("a")
    provider.polls, provider.remaining, provider.reset = 2, 100, 60
    cloud.reboot(number, cancel=cancel)
    looks = [each.at for each in provider.seen if each.line.startswith("GET /v2/actions/")]
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(looks))
