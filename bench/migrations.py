"""Whole migrations as they are typed, verified, beside the fastest plain loop with the vendor's own client.

Real servers on loopback, started as the tests start them. What a loop does not do: export, ledger, read-back.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import migrate_qdrant
from series import Contestant, Progress, Section, Series, Target, in_turn
from shelling import DidNotRun, run, timed
from startup import OPSCTL

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WIDTH, TEXTS, ROWS = 384, 1_000, 50_000
HNSW, QUICK = 8_000, 24_000  # vectors; with async indexing 8,000 take the loop little more than a second
SHARE = 5  # the small run has a fifth of the items
STEADY = "opsctl, once started"
_STEADY_NOTE = f"{STEADY}: what all take longer than a fifth of them, taken for all"
DAY = "2026-11-20T10:00:00Z"
_WORDS = ("refund", "invoice", "unit", "tenant", "agent", "droplet", "phase", "trial", "patient", "lease", "note")


def _text(luck: random.Random, length: int) -> str:
    words = [luck.choice(_WORDS)]
    while sum(map(len, words)) + len(words) < length:
        words.append(luck.choice(_WORDS))
    return " ".join(words)[:length]


@dataclass(frozen=True)
class Place:
    """A folder with a stack file, and the servers it names."""

    folder: Path
    redis: Any
    other: Any
    made: list[str] = field(default_factory=list)

    def opsctl(self, *words: str) -> float:
        """Seconds of one command, with a ledger of its own: nothing is known from a run before."""
        state = tempfile.mkdtemp(dir=self.folder)
        env = {"XDG_STATE_HOME": state, "OPSCTL_STACK": str(self.folder / "opsctl.yaml")}
        return timed([OPSCTL, *words], env=env, timeout=900)

    def collection(self) -> str:
        """A new one, as the shipped Session is. The one before goes, or its index would grow in this one's time."""
        while self.made:
            gone = Request(f"{self.other.url}/v1/schema/{self.made.pop()}", method="DELETE")
            with urlopen(gone, timeout=60):
                pass
        name = f"B{uuid.uuid4().hex[:10]}"
        properties = {"text": {"type": "text", "search": True, "filter": False}, "key": "text", "timestamp": "date"}
        extra = {"speaker": "text", "expiresAt": "date", "extra": {"type": "text", "filter": False}}
        shape = {"tenants": "day", "vectors": {"minilm": {"width": WIDTH}}, "properties": {**properties, **extra}}
        text = json.dumps({"version": 1, "collections": {name: shape}})
        (self.folder / "collections.yaml").write_text(text)
        self.opsctl("collections", "apply")
        self.made.append(name)
        return name

    def migrate(self, *words: str, few: bool = False) -> float:
        """Seconds of moving all keys, or few of them, into a new collection."""
        pattern = ("--pattern", "few:*") if few else ()
        both = ("migrate", "dragonfly-to-weaviate", "--from", "cache", "--to", "vectors")
        return self.opsctl(*both, *words, *pattern, "--collection", self.collection())


def _both(place: Place, count: int, *words: str) -> tuple[Contestant, Contestant]:
    """The whole command, and what it costs once it has started."""
    whole: list[float] = []

    def all_of_it() -> float:
        whole.append(place.migrate(*words))
        return whole[-1]

    def steady() -> float:
        return (whole[-1] - place.migrate(*words, few=True)) * count / (count - count // SHARE)

    return Contestant("opsctl", all_of_it), Contestant(STEADY, steady)


@contextmanager
def _with_weaviate(*, asynchronous: bool) -> Iterator[Place]:
    from tests.stores import redis_server, weaviate_server

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-weaviate-")))
        settings = {"ASYNC_INDEXING": "true"} if asynchronous else {}
        sink = stack.enter_context(weaviate_server.running(data, **settings))
        source = stack.enter_context(redis_server.running("redis"))
        stores = {"cache": {"redis": source.url}, "vectors": {"weaviate": sink.url, "grpc_port": sink.grpc_port}}
        (folder / "opsctl.yaml").write_text(json.dumps({"version": 1, "stores": stores}))
        yield Place(folder, source, sink)


def _fill(place: Place, items: Sequence[dict[str, Any]]) -> None:
    place.redis.client.flushdb()
    pipe = place.redis.client.pipeline(transaction=False)
    for number, item in enumerate(items):
        pipe.set(f"memory:{number}", json.dumps(item))
        if number < len(items) // SHARE:
            pipe.set(f"few:{number}", json.dumps(item))
    pipe.execute()


def _loop(place: Place, items: Sequence[dict[str, Any]], batch: int, threads: int) -> tuple[str, float]:
    """The collection, and the seconds of `insert_many` alone, of objects that are in memory already."""
    import weaviate
    from weaviate.classes.data import DataObject

    name = place.collection()
    host, _, port = place.other.url.rpartition("/")[2].partition(":")
    client = weaviate.connect_to_local(host, int(port), place.other.grpc_port, skip_init_checks=True)
    try:
        there = client.collections.use(name)
        there.tenants.create("20261120")
        day = there.with_tenant("20261120")
        objects = [
            DataObject(
                properties={"text": each["content"], "key": f"memory:{number}", "timestamp": DAY},
                uuid=uuid.uuid5(uuid.NAMESPACE_DNS, f"memory:{number}"),
                vector={"minilm": each["embedding"]},
            )
            for number, each in enumerate(items)
        ]
        parts = [objects[start : start + batch] for start in range(0, len(objects), batch)]
        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            failed = [each for each in pool.map(day.data.insert_many, parts) if each.has_errors]
        took = time.perf_counter() - began
    finally:
        client.close()
    if failed:
        raise DidNotRun(f"the loop's server refused {len(failed)} batches")
    return name, took


def vectors(rounds: int, progress: Progress, *, asynchronous: bool) -> Section:
    """Precomputed vectors: the whole command against the fastest loop over batch sizes and threads."""
    luck, count = random.Random(1), QUICK if asynchronous else HNSW
    items = [
        {"content": _text(luck, 220), "timestamp": DAY, "embedding": [luck.uniform(-1, 1) for _ in range(WIDTH)]}
        for _ in range(count)
    ]
    with _with_weaviate(asynchronous=asynchronous) as place:
        _fill(place, items)
        ways = [(batch, threads) for batch in (250, 500, 1000) for threads in (1, 2, 4)]
        tried = {way: _loop(place, items, *way)[1] for way in ways}
        best = min(tried, key=tried.__getitem__)
        progress(f"the fastest loop: {best[0]} a batch, {best[1]} threads, {count / tried[best]:,.0f} objects/s")
        ours = _both(place, count, "--vectors", "precomputed")
        series = in_turn((Contestant("loop", lambda: _loop(place, items, *best)[1]), *ours), rounds, progress)
    kind = "async indexing" if asynchronous else "HNSW"
    return Section(
        "migrate-async" if asynchronous else "migrate-hnsw",
        f"dragonfly-to-weaviate, {count:,} precomputed vectors of {WIDTH}, {kind}: whole process, verified",
        "s",
        series,
        (
            Target("opsctl", 1.50, "loop", words="verified within 1.5 × the fastest plain loop: whole process"),
            Target(STEADY, 1.50, "loop", words="the same once started"),
        ),
        (
            f"the loop searched over {len(ways)} ways; it writes {count / tried[best]:,.0f} objects/s at {best}",
            _STEADY_NOTE,
        ),
        series.failed,
    )


def _read_back(place: Place, name: str, ids: Sequence[str]) -> float:
    """Seconds of reading objects with their vectors, as a plain loop would."""
    import weaviate

    host, _, port = place.other.url.rpartition("/")[2].partition(":")
    client = weaviate.connect_to_local(host, int(port), place.other.grpc_port, skip_init_checks=True)
    try:
        day = client.collections.use(name).with_tenant("20261120")
        began, found = time.perf_counter(), 0
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            found += len(day.query.fetch_objects_by_ids(part, limit=len(part), include_vector=True).objects)
        took = time.perf_counter() - began
    finally:
        client.close()
    if found != len(ids):
        raise DidNotRun(f"{found} of {len(ids)} objects were read back")
    return took


def minilm(rounds: int, progress: Progress, model: Path) -> Section:
    """Texts that are embedded on the way: against embedding, writing and reading back, each by itself."""
    luck = random.Random(2)
    texts = [_text(luck, 256) for _ in range(TEXTS)]
    code = (
        "import sys, json, time; from pathlib import Path; from opsctl.stores.embedding import MiniLM; "
        "from opsctl.model.cancel import Cancel; t = json.load(sys.stdin); m = MiniLM(Path(sys.argv[1])); "
        "m.embed(t[:32], Cancel()); b = time.perf_counter(); v = m.embed(t, Cancel()); print(time.perf_counter() - b); "
        "from array import array; print(json.dumps([array('f', bytes(each)).tolist() for each in v]))"
    )
    with _with_weaviate(asynchronous=False) as place:
        _fill(place, [{"content": each, "timestamp": DAY} for each in texts])
        took: dict[str, list[float]] = {"embed": [], "write": [], "read back": []}

        def parts() -> float:
            said = run([sys.executable, "-c", code, str(model)], stdin=json.dumps(texts), timeout=600).splitlines()
            made = [
                {"content": text, "embedding": vector} for text, vector in zip(texts, json.loads(said[1]), strict=True)
            ]
            took["embed"].append(float(said[0]))
            name, wrote = _loop(place, made, 250, 2)
            took["write"].append(wrote)
            ids = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"memory:{number}")) for number in range(TEXTS)]
            took["read back"].append(_read_back(place, name, ids))
            return sum(each[-1] for each in took.values())

        ours = _both(place, TEXTS, "--model", str(model))
        series = in_turn((Contestant("stages", parts), *ours), rounds, progress)
    stages = ", ".join(f"{name} {TEXTS / statistics.median(each):,.0f}/s" for name, each in took.items() if each)
    bound = "95 % of the harmonic bound of its stages measured alone"
    return Section(
        "migrate-minilm",
        f"dragonfly-to-weaviate, {TEXTS:,} texts of 256 characters embedded here, verified",
        "s",
        series,
        (
            Target(STEADY, 1 / 0.95, "stages", words=f"{bound}: once started"),
            Target("opsctl", 1 / 0.95, "stages", words=f"{bound}: whole process, model load and all"),
        ),
        (f"the stages share the cores, so their times add up; by themselves: {stages}", _STEADY_NOTE),
        series.failed,
    )


def table(rounds: int, progress: Progress) -> Section:
    """Hashes into rows: the whole command against psql's \\copy of the same rows from a file."""
    from tests.stores import postgres_server, redis_server

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        source = stack.enter_context(redis_server.running("redis"))
        sink = stack.enter_context(postgres_server.running())
        place = Place(folder, source, sink)
        stores = {"jobs": {"redis": source.url}, "table": {"postgres": sink.url}}
        (folder / "opsctl.yaml").write_text(json.dumps({"version": 1, "stores": stores}))
        rows = [(f"job:{n}", n, f"{n % 97}.25", "done" if n % 3 else "open", DAY) for n in range(ROWS)]
        pipe = source.client.pipeline(transaction=False)
        for key, number, amount, state, at in rows:
            pipe.hset(key, mapping={"number": number, "amount": amount, "state": state, "at": at})
        pipe.execute()
        (folder / "rows.tsv").write_text("".join("\t".join(map(str, each)) + "\n" for each in rows))

        psql = [str(sink.program("psql")), sink.url, "-qc"]
        copied: list[str] = []

        def read() -> float:
            began, found = time.perf_counter(), 0
            keys = source.client.scan_iter("job:*", count=2_000)
            while part := list(itertools.islice(keys, 2_000)):
                pipe = source.client.pipeline(transaction=False)
                for key in part:
                    pipe.hgetall(key)
                found += len(pipe.execute())
            if found != ROWS:
                raise DidNotRun(f"{found} of {ROWS} hashes were read")
            return time.perf_counter() - began

        def copy() -> float:
            copied.append(f"c{uuid.uuid4().hex[:8]}")
            columns = "(key text primary key, number bigint, amount numeric, state text, at timestamptz)"
            sink.sql(f"CREATE TABLE {copied[-1]} {columns}")
            return timed([*psql, f"\\copy {copied[-1]} from '{folder}/rows.tsv'"])

        def read_back() -> float:
            return timed([*psql, f"\\copy {copied[-1]} to '{folder}/back.tsv'"])

        both = ("--from", "jobs", "--to", "table", "--match", "job:*")

        def move() -> float:
            return place.opsctl("migrate", "redis-to-postgres", *both, "--table", f"t{uuid.uuid4().hex[:8]}")

        contestants = (
            Contestant("read", read),
            Contestant("copy", copy),
            Contestant("read back", read_back),
            Contestant("opsctl", move),
        )
        series = in_turn(contestants, rounds, progress)
        stages = ("read", "copy", "read back")
        if all(each in series for each in stages):
            sums = tuple(map(sum, zip(*(series[each].values for each in stages), strict=True)))
            series["stages"] = Series("stages", sums)
    return Section(
        "migrate-table",
        f"redis-to-postgres, {ROWS:,} hashes of 4 fields: whole process, verified",
        "s",
        series,
        (
            Target("opsctl", 1 / 0.6, "copy", words="at least 0.6 of psql \\copy of the same rows"),
            Target("opsctl", 1 / 0.6, "stages", words="at least 0.6 of reading, \\copy and reading back, each alone"),
        ),
        (
            "\\copy reads a file that is there; opsctl reads Redis, exports, copies, reads back and compares",
            "read: SCAN and HGETALL through the vendor's client, 2,000 a pipeline, and nothing done with what comes",
        ),
        series.failed,
    )


def model_folder() -> Path | None:
    """Where the tests find MiniLM, if it is there."""
    places = [os.environ.get("OPSCTL_TEST_MODEL"), str(ROOT.parent / "shared/models/all-MiniLM-L6-v2")]
    return next((Path(each) for each in places if each and Path(each, "model.onnx").is_file()), None)


def sections(rounds: int, progress: Progress, wanted: set[str]) -> Iterator[tuple[str, Callable[[], Section]]]:
    """What was asked for of the migrations."""
    if "migrate-hnsw" in wanted:
        yield "migrate-hnsw", lambda: vectors(rounds, progress, asynchronous=False)
    if "migrate-async" in wanted:
        yield "migrate-async", lambda: vectors(rounds, progress, asynchronous=True)
    if "migrate-minilm" in wanted and (model := model_folder()):
        yield "migrate-minilm", lambda: minilm(rounds, progress, model)
    if "migrate-qdrant" in wanted:
        yield "migrate-qdrant", lambda: migrate_qdrant.section(rounds, progress)
    if "migrate-table" in wanted:
        yield "migrate-table", lambda: table(rounds, progress)
