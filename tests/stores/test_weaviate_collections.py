"""Collections and days on a real server, through the command as a user types it."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.conftest import Opsctl
from tests.stores.weaviate_server import WeaviateServer, weaviate

from opsctl.jobs.close_day import Closing, close_day, parse_day
from opsctl.jobs.collections import apply, status
from opsctl.model.cancel import Cancel
from opsctl.model.collections import ClosedDay, CollectionsReport
from opsctl.model.collections_file import load_collections
from opsctl.model.errors import ConfigError, ExitCode, StepFailed, UsageError
from opsctl.model.result import DropletResult
from opsctl.model.vector_object import VectorObject
from opsctl.stores.summaries import CommandSummary, UrlSummary
from opsctl.stores.weaviate_collections import WeaviateCollections
from opsctl.stores.weaviate_rest import WeaviateRest
from opsctl.stores.weaviate_wire import WeaviateWire

__all__ = ["weaviate"]
YESTERDAY = f"{datetime.now(UTC) - timedelta(days=1):%Y%m%d}"


class Setting:
    """A folder with a stack file, and a collection of a name that nobody else has."""

    def __init__(self, server: WeaviateServer, folder: Path) -> None:
        self.folder = folder
        self.opsctl = Opsctl(folder=folder)
        self.name = f"C{uuid.uuid4().hex[:12]}"
        self.store = WeaviateCollections(server.target)
        self.rest = WeaviateRest(server.target)
        self.wire = WeaviateWire(server.target, largest=100_000_000)
        self.cancel = Cancel(120)
        stores = {"vectors": {"weaviate": server.url, "grpc_port": server.grpc_port}}
        (folder / "opsctl.yaml").write_text(json.dumps({"version": 1, "stores": stores}))

    def declare(self, name: str = "", **given: Any) -> None:
        """Write collections.yaml (JSON is YAML)."""
        base: dict[str, Any] = {"properties": {"text": {"type": "text", "search": True}}}
        both = {name or self.name: base | given, f"{self.name}S": base}
        (self.folder / "collections.yaml").write_text(json.dumps({"version": 1, "collections": both}))

    def live(self) -> Any:
        """The collection as the server says it."""
        return self.rest.collection(self.name, self.cancel)

    def apply(self, *, dry_run: bool = False) -> DropletResult[CollectionsReport]:
        """`collections apply`."""
        return apply(self.store, load_collections(self.folder), self.cancel, dry_run=dry_run)

    def close(self, command: str = "", **more: Any) -> ClosedDay:
        """`collections close-day`."""
        made = CommandSummary(command, within=more.pop("within", 60.0)) if command else None
        wanted = Closing(more.pop("day", YESTERDAY), self.name, made, **more)
        return close_day(self.store, load_collections(self.folder), wanted, self.cancel)

    def differences(self, report: CollectionsReport | None = None) -> dict[str, str]:
        """path → what is done, of the collection."""
        report = report or status(self.store, load_collections(self.folder), self.cancel)
        mine = next(each for each in report.collections if each.name == self.name)
        return {each.path: each.doing.value for each in mine.differences}

    def insert(self, day: str, count: int) -> None:
        """Objects of a day."""
        bodies = [VectorObject({"text": f"said {n}"}, {"minilm": struct.pack("<4f", *[n] * 4)}) for n in range(count)]
        objects = [(str(uuid.uuid4()), body) for body in bodies]
        assert self.wire.insert(self.name, day, objects, self.cancel) == {}


@pytest.fixture
def setting(weaviate: WeaviateServer, tmp_path: Path) -> Iterator[Setting]:
    made = Setting(weaviate, tmp_path)
    yield made
    for name in (made.name, f"{made.name}S"):
        made.rest.ask("DELETE", f"/schema/{name}", made.cancel)
    made.rest.close()
    made.wire.close()
    made.store.close()


def test_a_file_is_applied_once_and_then_unchanged(setting: Setting) -> None:
    setting.declare(vectors={"minilm": {"width": 4}}, tenants="day", about="first")
    assert setting.differences() == {"": "create"}
    assert setting.differences(setting.apply(dry_run=True).result) == {"": "create"}
    assert setting.live() is None
    done = setting.opsctl.json("collections", "apply")
    result = done["droplets"][0]["result"]
    assert (done["exit_code"], result["changed"], result["refused"]) == (0, 2, 0)
    live = setting.live()
    assert live["multiTenancyConfig"] == {
        "enabled": True,
        "autoTenantCreation": True,
        "autoTenantActivation": True,
    }
    assert live["vectorConfig"]["minilm"]["vectorIndexConfig"]["filterStrategy"] == "acorn"
    again = setting.opsctl("collections", "apply")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "unchanged")
    assert setting.live() == live


def test_what_can_be_changed_in_place_is(setting: Setting) -> None:
    setting.declare(vectors={"minilm": {}}, tenants="day")
    assert setting.apply().error is None
    setting.insert(YESTERDAY, 3)
    setting.declare(
        vectors={"minilm": {"filter": "sweeping", "ef": 77}, "other": {"width": 8, "index": "flat"}},
        tenants={"create": False, "activate": False},
        about="changed",
        bm25={"b": 0.5, "k1": 1.5, "stopwords": "none"},
        properties={"text": {"type": "text", "search": True, "about": "new"}, "when": {"type": "date", "range": True}},
    )
    assert setting.differences(setting.apply().result) == {
        "about": "change",
        "bm25.b": "change",
        "bm25.k1": "change",
        "bm25.stopwords": "change",
        "tenants.create": "change",
        "tenants.activate": "change",
        "properties.text.about": "change",
        "properties.when": "add",
        "vectors.minilm.filter": "change",
        "vectors.minilm.ef": "change",
        "vectors.other": "add",
    }
    assert setting.differences() == {}
    assert setting.wire.count(setting.name, YESTERDAY, setting.cancel) == 3


def test_what_cannot_be_changed_is_refused_with_the_reason_and_the_rest_is_done(setting: Setting) -> None:
    setting.declare(
        vectors={"minilm": {}},
        properties={"text": {"type": "text", "search": True}, "n": "int", "mine": "text"},
    )
    assert setting.apply().error is None
    one = (str(uuid.uuid4()), VectorObject({"text": "x"}, {"minilm": bytes(16)}))
    assert setting.wire.insert(setting.name, "", [one], setting.cancel) == {}
    before = setting.live()
    setting.declare(
        tenants="day",
        vectors={"minilm": {"width": 384, "distance": "dot", "max_connections": 64}},
        properties={"text": {"type": "text", "search": True, "tokenization": "field"}, "n": "number", "new": "text"},
    )
    done = setting.opsctl("collections", "apply")
    assert done.returncode == 5
    assert "cannot be changed in place" in done.stderr
    assert "instead:" in done.stdout
    assert setting.differences() == {
        "tenants": "refuse",
        "properties.text.tokenization": "refuse",
        "properties.n.type": "refuse",
        "properties.mine": "keep",
        "vectors.minilm.distance": "refuse",
        "vectors.minilm.max_connections": "refuse",
        "vectors.minilm.width": "refuse",
    }
    after = setting.live()
    assert [each["name"] for each in after["properties"]] == ["text", "n", "mine", "new"], "nothing is deleted"
    assert after["vectorConfig"] == before["vectorConfig"]
    assert setting.apply().exit_code is ExitCode.FAILED, "and nothing else was left to do"


def test_a_clinical_collection_whose_vector_a_third_party_makes_is_refused(setting: Setting) -> None:
    body = {
        "class": setting.name,
        "properties": [{"name": "text", "dataType": ["text"], "indexFilterable": True, "indexSearchable": True}],
        "vectorConfig": {
            name: {
                "vectorizer": {maker: {}},
                "vectorIndexType": "hnsw",
                "vectorIndexConfig": {"filterStrategy": "acorn"},
            }
            for name, maker in (("minilm", "none"), ("far", "text2vec-openai"))
        },
    }
    setting.rest.ask("POST", "/schema", setting.cancel, body)
    setting.declare(clinical=True, vectors={"minilm": {}})
    assert setting.differences()["vectors.far"] == "refuse"
    setting.declare(vectors={"minilm": {}})
    assert setting.differences()["vectors.far"] == "keep"


def closing(setting: Setting, count: int = 1203) -> None:
    properties = {"text": {"type": "text", "search": True}}
    extra = {"tags": "text[]", "key": "text", "extra": {"type": "text", "filter": False}, "timestamp": "date"}
    both = {
        setting.name: {
            "properties": properties,
            "vectors": {"minilm": {"width": 4}},
            "tenants": {"summary": f"{setting.name}S"},
        },
        f"{setting.name}S": {"properties": properties | extra},
    }
    (setting.folder / "collections.yaml").write_text(json.dumps({"version": 1, "collections": both}))
    assert setting.apply().error is None
    setting.insert(YESTERDAY, count)


def state(setting: Setting) -> str:
    return setting.rest.tenants(setting.name, setting.cancel)[YESTERDAY]


def test_a_day_is_summarised_and_put_to_rest(setting: Setting) -> None:
    closing(setting)
    count = "echo $OPSCTL_DAY $OPSCTL_COLLECTION $(sort -u | wc -l)"
    would = setting.close(count, dry_run=True)
    assert (would.outcome, would.objects, state(setting)) == ("would-close", 1203, "ACTIVE")
    words = ("collections", "close-day", "--collection", setting.name, "--summary-command", count)
    done = setting.opsctl.json(*words)["droplets"][0]["result"]
    assert (done["outcome"], done["state"], state(setting)) == ("closed", "INACTIVE", "INACTIVE")
    place, _, name = done["summary"].partition("/")
    kept = setting.wire.fetch(place, "", [name], (), setting.cancel)[name].properties
    assert kept["text"] == f"{YESTERDAY} {setting.name} 1203"
    assert kept["tags"] == ["summary", setting.name]
    assert setting.close("exit 1").outcome == "unchanged"
    setting.rest.set_tenants(setting.name, {YESTERDAY: "ACTIVE"}, setting.cancel)
    assert setting.close("exit 1").outcome == "closed", "the summary of the same objects was there already"


def test_a_summary_that_does_not_come_leaves_the_day_open(setting: Setting) -> None:
    closing(setting, 10)
    for command, why in (("echo no >&2; exit 3", "ended with 3"), ("cat >/dev/null", "gave no summary")):
        with pytest.raises(StepFailed, match=why):
            setting.close(command)
    with pytest.raises(StepFailed, match="longer than 1 s"):
        setting.close("cat >/dev/null; sleep 60", within=1.0)
    assert state(setting) == "ACTIVE"
    place = setting.folder / "sums" / "day.txt"
    done = setting.close("head -1", file=place)
    assert (done.summary, state(setting)) == (str(place), "INACTIVE")
    assert "said" in place.read_text()


class Endpoint(BaseHTTPRequestHandler):
    """Counts the lines it is sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        lines = 0
        while size := int(self.rfile.readline(), 16):
            lines += self.rfile.read(size).count(b"\n")
            self.rfile.readline()
        self.rfile.readline()
        allowed = self.headers.get("Authorization") == "Bearer a-secret-token"
        data = json.dumps({"summary": f"{lines} lines on {self.headers.get('X-Opsctl-Day')}"}).encode()
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


def test_an_endpoint_makes_the_summary(setting: Setting) -> None:
    closing(setting, 700)
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        words = ("collections", "close-day", "--collection", setting.name)
        url = f"http://127.0.0.1:{server.server_port}/summary"
        denied = UrlSummary(url, within=60.0)
        with pytest.raises(StepFailed, match="gave no summary") as raised:
            denied.summarise(iter([b"{}\n"]), {}, setting.cancel)
        assert "HTTP 403" in raised.value.info.why
        opsctl = Opsctl({"OPSCTL_SUMMARY_TOKEN": "a-secret-token"}, setting.folder)
        done = opsctl.json(*words, "--summary-url", url)["droplets"][0]["result"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    place, _, name = done["summary"].partition("/")
    kept = setting.wire.fetch(place, "", [name], (), setting.cancel)[name].properties
    assert kept["text"] == f"700 lines on {YESTERDAY}"


NOW = datetime(2026, 11, 28, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "day"), [("yesterday", "20261127"), ("2026-11-27", "20261127"), ("20260101", "20260101")]
)
def test_a_day_is_written_in_many_ways(text: str, day: str) -> None:
    assert parse_day(text, NOW) == day


@pytest.mark.parametrize("text", ["today", "2026-11-28", "20261129", "2026-13-01", "1", ""])
def test_a_day_that_is_none_or_not_over_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"no day|is over"):
        parse_day(text, NOW)


def test_what_cannot_be_closed_is_told(setting: Setting) -> None:
    setting.declare(tenants="day", vectors={"minilm": {}})
    assert setting.apply().error is None
    with pytest.raises(UsageError, match="has no tenant 20200101"):
        setting.close(day="20200101")
    with pytest.raises(ConfigError, match="cannot offload"):
        setting.close(offload=True)
    setting.insert(YESTERDAY, 1)
    with pytest.raises(ConfigError, match="no place for the summary"):
        setting.close("cat")
    with pytest.raises(UsageError, match="in the clear"):
        UrlSummary("http://example.com/s")
    with pytest.raises(UsageError, match="third party"):
        UrlSummary("https://example.com/s", private=True)
    assert setting.close().outcome == "closed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nobody is named who makes the summary"),
        (("--no-summary", "--summary-command", "x"), "one way to a summary is enough"),
    ],
)
def test_somebody_has_to_make_the_summary(opsctl: Opsctl, words: tuple[str, ...], said: str) -> None:
    done = opsctl("collections", "close-day", *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
