"""Logs of real containers on this machine's engine: merged, bounded, followed across restarts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest
from tests.tiny_image import Engine, real_engine

from opsctl.hosts import connect
from opsctl.jobs import containers as listing
from opsctl.jobs.logs import History, LogLine, Query, choose, history, parse_since, query
from opsctl.jobs.logs_follow import Follower, Notice, api_time
from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.ports import Host, Shell
from opsctl.model.stack import Droplet, Stack

COUNT = "for i in {1..30}; do echo line $i; echo problem $i >&2; done; exec sleep 600"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with real_engine() as engine:
        yield engine


@pytest.fixture
def host() -> Iterator[Host]:
    host = connect(Droplet("here", "local"))
    yield host
    host.close()


def found_of(host: Host, *names: str) -> tuple[listing.Found, ...]:
    here = Droplet("here", "local")
    found = listing.read(host, Stack(None, {"here": here}, {}), here, cancel=Cancel(30))
    return choose(found, names)


def past(host: Host, wanted: Query, *names: str) -> History:
    return history(host, found_of(host, *names), wanted, droplet="here", socket="", cancel=Cancel(60))


def wait_for(host: Host, name: str, text: str) -> None:
    bound = Cancel(30)
    while not any(text in line.text for line in past(host, Query("all"), name).lines):
        assert not bound.wait(0.1), f"{text!r} was never logged by {name}"


def test_the_last_lines_of_both_streams(engine: Engine, host: Host) -> None:
    name = engine.run("count", COUNT)
    wait_for(host, name, "problem 30")
    assert len(past(host, Query("6"), name).lines) == 6
    lines = past(host, Query("all"), name).lines
    assert [line.text for line in lines if line.stream == "stdout"] == [f"line {n}" for n in range(1, 31)]
    assert [line.text for line in lines if line.stream == "stderr"] == [f"problem {n}" for n in range(1, 31)]
    assert [line.time for line in lines] == sorted(line.time for line in lines)


def test_several_containers_are_merged_by_time(engine: Engine, host: Host) -> None:
    one = engine.run("one", "for i in {1..5}; do echo one $i; sleep 0.05; done; exec sleep 600")
    two = engine.run("two", "for i in {1..5}; do echo two $i; sleep 0.05; done; exec sleep 600")
    wait_for(host, one, "one 5")
    wait_for(host, two, "two 5")
    lines = past(host, Query("all"), one, two).lines
    assert len(lines) == 10
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    assert {line.service for line in lines} == {one, two}


def test_grep_and_since(engine: Engine, host: Host) -> None:
    name = engine.run("count", COUNT)
    wait_for(host, name, "problem 30")
    wanted = query(tail=None, since="10m", grep="^line [12]$", services=1)
    assert [line.text for line in past(host, wanted, name).lines] == ["line 1", "line 2"]
    later = query(tail=None, since="2200-01-01", grep=None, services=1)
    assert past(host, later, name).lines == ()


def test_a_terminals_log_can_be_read(engine: Engine, host: Host) -> None:
    name = engine.run("tty", "echo on a terminal; exec sleep 600", "-t")
    wait_for(host, name, "on a terminal")
    assert [line.text for line in past(host, Query("all"), name).lines] == ["on a terminal"]


def test_lines_above_the_engines_16_kb_stay_whole(engine: Engine, host: Host) -> None:
    name = engine.run("long", "printf -v x '%*s' 40000 ''; echo \"${x// /y}\"; echo after; exec sleep 600")
    wait_for(host, name, "after")
    assert [len(line.text) for line in past(host, Query("all"), name).lines] == [40_000, 5]


def test_a_driver_that_keeps_nothing_is_said(engine: Engine, host: Host) -> None:
    name = engine.run("silent", "echo lost; exec sleep 600", "--log-driver", "none")
    with pytest.raises(StepFailed) as caught:
        past(host, Query("10"), name)
    assert "cannot be read" in caught.value.info.what
    assert "driver" in caught.value.info.why


def test_without_curl_the_client_is_used(engine: Engine, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from opsctl.jobs import logs

    name = engine.run("count", COUNT)
    wait_for(host, name, "problem 30")
    monkeypatch.setattr(logs, "_READ", logs._READ.replace("command -v curl", "false"))
    assert len(past(host, Query("6"), name).lines) == 6


class Followed:
    """A follower in a thread, and what it has told so far."""

    def __init__(self, host: Host, name: str, wanted: Query | None = None) -> None:
        self.items: list[LogLine | Notice] = []
        self.cancel = Cancel(120)
        self.wanted = wanted or Query("all")
        found = found_of(host, name)
        before = history(host, found, self.wanted, droplet="here", socket="", cancel=self.cancel)
        self.items += before.lines
        follower = Follower(host, self.wanted, self.items.append, droplet="here", socket="", cancel=self.cancel)
        self.thread = threading.Thread(
            target=follower.run, args=(found, before.resume), kwargs={"since": before.read_at}
        )
        self.thread.start()

    def until(self, text: str, times: int = 1) -> None:
        bound = Cancel(60)
        while sum(item.text == text for item in self.items) < times:
            assert not bound.wait(0.05), f"{text!r} did not come {times} times: {[item.text for item in self.items]}"

    def end(self) -> list[str]:
        self.cancel.cancel()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return [item.text for item in self.items if isinstance(item, LogLine)]


TICK = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done"


def test_following_shows_every_line_once(engine: Engine, host: Host) -> None:
    name = engine.run("tick", TICK)
    wait_for(host, name, "tick 3")
    followed = Followed(host, name)
    followed.until("tick 15")
    texts = followed.end()
    assert texts == [f"tick {n + 1}" for n in range(len(texts))]


def test_a_restarted_container_is_taken_up_again(engine: Engine, host: Host) -> None:
    name = engine.run("tick", TICK)
    followed = Followed(host, name)
    followed.until("tick 3")
    engine.docker("restart", "-t", "0", name)
    followed.until("tick 3", times=2)
    engine.docker("restart", "-t", "0", name)
    followed.until("tick 3", times=3)
    texts = followed.end()
    assert texts.count("tick 1") == texts.count("tick 2") == 3
    notices = [item.text for item in followed.items if isinstance(item, Notice)]
    assert notices == ["stopped, exit status 137", "started"] * 2


def test_a_container_made_anew_is_taken_up_again(engine: Engine, host: Host) -> None:
    name = engine.run("old", TICK, service="ticker")
    followed = Followed(host, name)
    followed.until("tick 3")
    engine.docker("rm", "-f", name)
    engine.run("new", "echo here again; exec sleep 600", service="ticker")
    followed.until("here again")
    followed.end()


def test_following_searches_too(engine: Engine, host: Host) -> None:
    name = engine.run("tick", TICK)
    followed = Followed(host, name, query(tail=None, since=None, grep="5$", services=1))
    followed.until("tick 15")
    assert followed.end()[:2] == ["tick 5", "tick 15"]


def test_a_droplet_that_runs_out_of_memory_is_told_once() -> None:
    """On cgroup v1 the engine sends the event for each of its containers."""
    items: list[LogLine | Notice] = []
    follower = Follower(cast(Shell, None), Query("all"), items.append, droplet="here", socket="", cancel=Cancel(1))
    for name, at in (("db", 100), ("app", 100), ("web", 101), ("app", 160)):
        known = listing.Found(name, name, "running", "Up", "i", "p", name, oneoff=False, config_files=())
        follower._happened({"Action": "oom", "time": at, "Actor": {"ID": name}}, known)
    assert [(item.service, item.text.split(",")[0]) for item in items if isinstance(item, Notice)] == [
        ("db", "memory ran out"),
        ("app", "memory ran out"),
    ]


def test_api_time_keeps_the_nanoseconds() -> None:
    assert api_time("1970-01-01T00:01:00.000000001Z") == "60.000000001"
    assert api_time("1763661600") == "1763661600"


def test_since_is_before_now_or_a_time() -> None:
    assert parse_since("10m") == -600
    assert parse_since("1970-01-01T01:00") == 3600
    assert parse_since("1970-01-01T01:00:00+01:00") == 0
    with pytest.raises(UsageError):
        parse_since("yesterday")


@pytest.mark.parametrize(
    ("given", "tail"),
    [
        ({"services": 1}, "100"),
        ({"services": 3}, "20"),
        ({"services": 0}, "20"),
        ({"services": 1, "grep": "x"}, "10000"),
        ({"services": 1, "since": "1m"}, "all"),
        ({"services": 1, "since": "1m", "grep": "x"}, "10000"),
        ({"services": 1, "tail": "5", "grep": "x"}, "5"),
        ({"services": 1, "tail": "all"}, "all"),
    ],
)
def test_how_many_lines(given: dict[str, object], tail: str) -> None:
    options: dict[str, object] = {"tail": None, "since": None, "grep": None, **given}
    assert query(**options).tail == tail  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"tail": "-3"}, {"tail": "many"}, {"grep": "("}, {"since": "x"}])
def test_what_cannot_be_understood(given: dict[str, str]) -> None:
    options: dict[str, str | None] = {"tail": None, "since": None, "grep": None, **given}
    with pytest.raises(UsageError):
        query(services=1, **options)


def test_what_joins_the_project_later_is_followed_too(engine: Engine, host: Host) -> None:
    items: list[LogLine | Notice] = []
    cancel = Cancel(120)
    before = history(host, (), Query("all"), droplet="here", socket="", cancel=cancel)
    follower = Follower(host, Query("all"), items.append, droplet="here", socket="", cancel=cancel)
    options = {"since": before.read_at, "project": engine.prefix}
    thread = threading.Thread(target=follower.run, args=((), {}), kwargs=options)
    thread.start()
    try:
        engine.run("late", "echo joined; exec sleep 600", service="late")
        engine.run("stranger", "echo unseen; exec sleep 600")
        while not any(item.text == "joined" for item in items):
            assert not cancel.wait(0.05), items
    finally:
        cancel.cancel()
        thread.join(10)
    assert {item.service for item in items} == {"late"}
