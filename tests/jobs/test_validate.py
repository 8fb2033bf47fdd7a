"""Probes: judged by the samples that came, and asked of real servers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from typing import Any, cast

import pytest
from tests.conftest import Opsctl

from opsctl.cloud.evidence import HttpEvidence
from opsctl.jobs.validate import Terms, judge, validate
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed, UnreachableError
from opsctl.model.measures import Measure, Question
from opsctl.model.ports import Host
from opsctl.model.probing import Samples, Series
from opsctl.model.secret import Secret
from opsctl.model.stack import Probe
from opsctl.sandbox import langsmith

KEY = "lsv2_pt_test"


class NoStores:
    """For probes that ask no store."""

    def measure(self, question: Question, *, cancel: Cancel, timeout: float) -> Mapping[str, Measure]:
        raise AssertionError(question)


def probe(**more: Any) -> Probe:
    texts: Mapping[str, Secret] = {
        key: Secret(more.pop(key)) for key in ("metrics", "traces", "url", "token", "http") if key in more
    }
    return Probe(**{"name": "p", "kind": "metrics", "texts": texts, **more})


def samples(now: float, *stamps: float, name: str = "a") -> Samples:
    return Samples((Series({"__name__": "up", "service": name}, stamps),), now)


@pytest.mark.parametrize(
    ("found", "more", "since", "passed", "said"),
    [
        (samples(100, 80, 90, 95), {"newer": 10}, None, True, "the newest sample 5.0 s old"),
        (samples(100, 80, 85), {"newer": 10}, None, False, "up{service=a} has no sample since 15 s"),
        (Samples((), 100), {"newer": 10}, None, False, "no sample in 10 s"),
        (samples(100, 90, 95), {"newer": 10}, 96, False, "nothing has arrived since"),
        (samples(100, 90, 97), {"newer": 10}, 96, True, "newest sample"),
        (samples(100, 10, 20, 60, 95), {"newer": 10, "gap": 30}, None, False, "a gap of 40 s in up{service=a}"),
        (samples(100, 60, 80, 95), {"newer": 10, "gap": 30}, None, True, "no gap over 20 s"),
        # A series that is silent at the end has a gap too.
        (samples(100, 60, 65), {"newer": 50, "gap": 30}, None, False, "a gap of 35 s"),
    ],
)
def test_samples_are_judged_as_they_came(
    found: Samples, more: dict[str, float], since: float | None, passed: bool, said: str
) -> None:
    result = judge(probe(**more), found, since)
    assert result.passed is passed
    assert said in result.said


def test_the_series_that_is_silent_longest_decides() -> None:
    both = Samples((*samples(100, 99, name="alive").series, *samples(100, 40, name="dead").series), 100)
    result = judge(probe(newer=30), both, None)
    assert not result.passed
    assert "service=dead" in result.said


@contextmanager
def langsmith_server() -> Iterator[str]:
    """The sandbox's stand-in, on a port of its own, with no run."""
    handler = type("Fresh", (langsmith.Handler,), {"store": langsmith.Store(), "key": KEY})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def post(url: str, age: float, name: str = "step") -> None:
    import json
    import urllib.request

    run = {
        "id": str(uuid.uuid4()),
        "name": name,
        "run_type": "chain",
        "session_name": "agents",
        "start_time": (datetime.now(UTC) - timedelta(seconds=age)).isoformat(),
    }
    asked = urllib.request.Request(f"{url}/runs", json.dumps(run).encode(), {"x-api-key": KEY})
    with urllib.request.urlopen(asked) as answer:
        assert answer.status == 202


def traces(url: str, **more: Any) -> Probe:
    return probe(kind="traces", traces="agents", url=url, token=KEY, **more)


def ask(wanted: Probe, terms: Terms | None = None) -> Any:
    # Metrics and traces are asked from here: no droplet has a part in it.
    nobody = cast("Host", None)
    return validate(nobody, HttpEvidence(), NoStores(), [wanted], terms or Terms(), cancel=Cancel()).probes[0]


def test_traces_are_new_or_not() -> None:
    with langsmith_server() as url:
        post(url, 300, "old")
        result = ask(traces(url, newer=60))
        assert not result.passed
        assert "the newest run, old," in result.said
        post(url, 2, "fresh")
        assert ask(traces(f"{url}/api/v1", newer=60)).passed
        late = ask(traces(url, newer=60), Terms(0, fresh=True))
        assert not late.passed
        assert "no run has arrived since this was asked" in late.said


def test_fresh_waits_for_what_comes_after_it_was_asked() -> None:
    with langsmith_server() as url:
        post(url, 2, "before")
        timer = threading.Timer(1.5, post, (url, -3, "after"))
        timer.start()
        result = ask(traces(url, newer=60), Terms(20, fresh=True))
        timer.join()
        assert result.passed
        assert result.said.startswith("after")


def test_what_cannot_be_asked_has_not_passed_and_says_why() -> None:
    with langsmith_server() as url:
        post(url, 1)
        assert "refuses the key: HTTP 401" in ask(probe(kind="traces", traces="agents", url=url, token="wrong")).said
        assert "there is no project 'other'" in ask(probe(kind="traces", traces="other", url=url, token=KEY)).said
        strange = ask(probe(metrics="up", url=url, token=KEY))
        assert not strange.passed
    gone = ask(probe(metrics="up", url=url))
    assert "does not answer: Connection refused" in gone.said or "Connection refused" in gone.said


def test_evidence_says_who_is_to_blame() -> None:
    evidence = HttpEvidence()
    with langsmith_server() as url:
        post(url, 1)
        with pytest.raises(ConfigError, match="refuses the key"):
            evidence.newest_run(url, "agents", token=Secret("no"), cancel=Cancel(), timeout=5)
        with pytest.raises(StepFailed, match="no project"):
            evidence.newest_run(url, "none", token=Secret(KEY), cancel=Cancel(), timeout=5)
        with pytest.raises(ConfigError, match="is no address"):
            evidence.http("ftp://x", cancel=Cancel(), timeout=5)
    with pytest.raises(UnreachableError, match="does not answer"):
        evidence.http(url, cancel=Cancel(), timeout=5)


def test_a_command_and_a_call_on_the_droplet(opsctl: Opsctl) -> None:
    assert opsctl.folder is not None
    with langsmith_server() as url:
        port = url.rpartition(":")[2]
        (opsctl.folder / "opsctl.yaml").write_text(
            "version: 1\ndroplets: {here: {address: local}}\nprobes:\n"
            "  true-is: {command: ['true']}\n"
            "  says: {command: [sh, -c, 'echo disk is full; exit 3']}\n"
            f'  answers: {{http: ":{port}/ok"}}\n'
            f"  from-here: {{http: {url}/ok, status: 200}}\n"
            f'  closed: {{http: ":{port}/sessions"}}\n'
            f'  unset: {{traces: agents, url: "{url}", token: "${{NOT_SET_ANYWHERE}}"}}\n'
        )
        shown = opsctl.json("validate")
        assert shown["exit_code"] == 7
        said = {each["name"]: (each["passed"], each["said"]) for each in shown["droplets"][0]["result"]["probes"]}
        assert said["true-is"][0] is said["answers"][0] is said["from-here"][0] is True
        assert said["says"] == (False, "exit 3: disk is full")
        assert said["closed"] == (False, "HTTP 401, not 2xx")
        assert "NOT_SET_ANYWHERE" in said["unset"][1]
        assert opsctl("validate", "true-is", "answers").returncode == 0
        unknown = opsctl("validate", "nope")
        assert (unknown.returncode, "no probe nope" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{}", "has none of them"),
        ("{http: ':80/', command: ['true']}", "has http and command"),
        ("{metrics: up}", "`metrics` without `url`"),
        ("{http: ':80/', gap: 3s}", "`gap` means nothing for http"),
    ],
)
def test_a_probe_that_means_nothing_is_refused(opsctl: Opsctl, entry: str, said: str) -> None:
    assert opsctl.folder is not None
    (opsctl.folder / "opsctl.yaml").write_text(
        f"version: 1\ndroplets: {{here: {{address: local}}}}\nprobes: {{p: {entry}}}\n"
    )
    done = opsctl("validate")
    assert done.returncode == 3
    assert said in done.stderr
