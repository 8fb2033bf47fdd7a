"""qdrant-to-cloud beside scroll, upload and read-back by themselves, with the same requests to the same servers.

Two stand-ins of the tests, a process each: they are Python, and cost several times what the client does.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from series import Contestant, Figures, Progress, Section, Series, Target, in_turn
from shelling import DidNotRun, timed
from startup import OPSCTL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
POINTS, WIDTH, PAGE, BATCH = 8_000, 384, 1_000, 500
STEADY = "opsctl, once started"
_TICKS = os.sysconf("SC_CLK_TCK")


def _cpu(server: Any) -> float:
    """Seconds of CPU that a server has taken."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass
class Servers:
    """Where the points are, and where they go; what each contestant took of the CPU, by process."""

    source: Any
    sink: Any
    folder: Path

    def __post_init__(self) -> None:
        self.cpu: dict[str, tuple[float, float, float]] = {}

    def counted(self, name: str, work: Callable[[], None]) -> float:
        """Seconds of some work in this process."""
        cpu = time.process_time(), _cpu(self.source), _cpu(self.sink)
        began = time.perf_counter()
        work()
        took = time.perf_counter() - began
        spent = time.process_time(), _cpu(self.source), _cpu(self.sink)
        here, there, yonder = (now - then for now, then in zip(spent, cpu, strict=True))
        self.cpu[name] = here, there, yonder
        return took

    def create(self, server: Any) -> str:
        """A new collection."""
        name = f"b{uuid.uuid4().hex[:10]}"
        with closing(server.client()) as client:
            from qdrant_client.models import Distance, VectorParams

            client.create_collection(name, VectorParams(size=WIDTH, distance=Distance.COSINE))
        return name

    def drop(self, name: str) -> None:
        """Away with it, so that the next one finds the server as this one did."""
        with closing(self.sink.client()) as client:
            client.delete_collection(name)


def _filled(servers: Servers) -> str:
    """The collection that everything is read from."""
    name, luck = servers.create(servers.source), random.Random(3)
    with closing(servers.source.client()) as client:
        from qdrant_client.models import PointStruct

        for start in range(0, POINTS, 500):
            client.upsert(
                name,
                [
                    PointStruct(
                        id=number,
                        vector=[luck.uniform(-1, 1) for _ in range(WIDTH)],
                        payload={"text": "x" * 180, "number": number},
                    )
                    for number in range(start, start + 500)
                ],
                wait=True,
            )
    return name


@dataclass
class Alone:
    """Each stage by itself, one request after the other, with opsctl's own client."""

    servers: Servers
    name: str
    texts: list[bytes]
    wrote: str = ""

    def scroll(self) -> None:
        """Every page, its JSON read."""
        found = sum(len(page["points"]) for page in self._pages())
        if found != POINTS:
            raise DidNotRun(f"{found} of {POINTS} points came")

    def keep(self) -> None:
        """The points as the source prints them, for the others."""
        from pydantic_core import to_json

        self.texts = [to_json(point) for page in self._pages() for point in page["points"]]

    def upload(self) -> None:
        """JSON that is there already, each request answered once it is applied."""
        with _rest(self.servers.sink) as call:
            for start in range(0, POINTS, BATCH):
                body = b'{"points":[' + b",".join(self.texts[start : start + BATCH]) + b"]}"
                call("PUT", f"/collections/{self.wrote}/points?wait=true", body)

    def read_back(self) -> None:
        """The answers as they are, their JSON not read."""
        with _rest(self.servers.sink) as call:
            for start in range(0, POINTS, BATCH):
                ids = list(range(start, min(POINTS, start + BATCH)))
                body = {"ids": ids, "with_payload": True, "with_vector": True}
                call("POST", f"/collections/{self.wrote}/points", body)

    def _pages(self) -> Iterator[dict[str, Any]]:
        from pydantic_core import from_json

        offset: Any = 0
        with _rest(self.servers.source) as call:
            while offset is not None:
                body = {"limit": PAGE, "with_payload": True, "with_vector": True, "offset": offset}
                page = from_json(call("POST", f"/collections/{self.name}/points/scroll", body))["result"]
                offset = page["next_page_offset"]
                yield page


class _rest:
    """opsctl's own way to a server."""

    def __init__(self, server: Any) -> None:
        from opsctl.stores.qdrant_rest import Rest

        self._made = Rest(_target(server))

    def __enter__(self) -> Callable[..., bytes]:
        from opsctl.model.cancel import Cancel

        return lambda method, path, body: self._made.raw(method, path, body, cancel=Cancel())

    def __exit__(self, *_: object) -> None:
        self._made.close()


def _target(server: Any) -> Any:
    from opsctl.model.secret import Secret
    from opsctl.model.store import Target as Store

    return Store("qdrant", Secret(server.url), server.url, server.url)


def _engine(servers: Servers, name: str, new: str) -> None:
    """What the command does once it has started, in this process: export, ledger, read-back, receipt."""
    from opsctl.jobs import migrate
    from opsctl.jobs.qdrant_points import SUITING, PointsAsTheyAre
    from opsctl.model.cancel import Cancel
    from opsctl.model.migrate_run import Migration
    from opsctl.stores.qdrant_sink import QdrantSink
    from opsctl.stores.qdrant_source import QdrantSource

    source = QdrantSource(_target(servers.source), (name,))
    sink = QdrantSink(_target(servers.sink), lambda cancel: {new: replace(source.specs(cancel)[name], name=new)})
    folder = Path(tempfile.mkdtemp(dir=servers.folder))
    transform = PointsAsTheyAre(lambda _: {name: new})
    ledger = folder / "ledger.db"
    m = Migration("bench", "bench", source, transform, sink, folder / "run", ledger, SUITING, Cancel(), lambda _: None)
    try:
        receipt = migrate.run(m)
    finally:
        source.close()
        sink.close()
    if receipt.counts.verified != POINTS or receipt.wanted_checksum != receipt.stored_checksum:
        raise DidNotRun(f"{receipt.counts.verified} of {POINTS} points were verified")


def _vendor_scroll(servers: Servers, name: str) -> list[Any]:
    found: list[Any] = []
    offset: Any = None
    with closing(servers.source.client()) as client:
        while True:
            page, offset = client.scroll(name, limit=PAGE, with_payload=True, with_vectors=True, offset=offset)
            found += page
            if offset is None:
                return found


def section(rounds: int, progress: Progress) -> Section:
    """All of them in turn."""
    from tests.stores.qdrant_server import Standin

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        source, sink = Standin(), Standin()
        stack.callback(source.kill)
        stack.callback(sink.kill)
        servers = Servers(source, sink, folder)
        name = _filled(servers)
        alone = Alone(servers, name, [])
        alone.keep()
        series = in_turn(_contestants(servers, alone, name), rounds, progress)
    return _judged(servers, series)


def _contestants(servers: Servers, alone: Alone, name: str) -> tuple[Contestant, ...]:
    stores = {"old": {"qdrant": servers.source.url}, "new": {"qdrant": servers.sink.url}}
    (servers.folder / "opsctl.yaml").write_text(json.dumps({"version": 1, "stores": stores}))

    def upload() -> float:
        alone.wrote = servers.create(servers.sink)
        return servers.counted("upload", alone.upload)

    def read_back() -> float:
        try:
            return servers.counted("read back", alone.read_back)
        finally:
            servers.drop(alone.wrote)

    def vendor_upload() -> float:
        from qdrant_client.models import PointStruct

        found, new = _vendor_scroll(servers, name), servers.create(servers.sink)
        points = [PointStruct(id=each.id, vector=each.vector, payload=each.payload) for each in found]
        with closing(servers.sink.client()) as client:
            took = servers.counted(
                "vendor's upload", lambda: client.upload_points(new, points, batch_size=500, wait=True)
            )
        servers.drop(new)
        return took

    def steady() -> float:
        new = f"e{uuid.uuid4().hex[:10]}"
        took = servers.counted(STEADY, lambda: _engine(servers, name, new))
        servers.drop(new)
        return took

    def opsctl() -> float:
        new = f"o{uuid.uuid4().hex[:10]}"
        words = ("migrate", "qdrant-to-cloud", "--from", "old", "--to", "new", "--collection", name, "--as", new)
        state = tempfile.mkdtemp(dir=servers.folder)
        env = {"XDG_STATE_HOME": state, "OPSCTL_STACK": str(servers.folder / "opsctl.yaml")}
        took = timed([OPSCTL, *words], env=env, timeout=900)
        servers.drop(new)
        return took

    def vendor_scroll() -> float:
        return servers.counted("vendor's scroll", lambda: _vendor_scroll(servers, name) and None)

    return (
        Contestant("scroll", lambda: servers.counted("scroll", alone.scroll)),
        Contestant("upload", upload),
        Contestant("read back", read_back),
        Contestant("vendor's scroll", vendor_scroll),
        Contestant("vendor's upload", vendor_upload),
        Contestant(STEADY, steady),
        Contestant("opsctl", opsctl),
    )


def _judged(servers: Servers, series: Figures) -> Section:
    def of(name: str, ones: tuple[str, ...], act: Callable[[tuple[float, ...]], float]) -> None:
        if all(one in series for one in ones):
            values = zip(*(series[one].values for one in ones), strict=True)
            series[name] = Series(name, tuple(act(each) for each in values))

    of("the slower", ("scroll", "upload"), max)
    of("the vendor's slower", ("vendor's scroll", "vendor's upload"), max)
    of("upload + read back", ("upload", "read back"), sum)
    targets = (
        Target(STEADY, 1 / 0.9, "the slower", words="at least 0.9 of the slower of scroll and upload alone"),
        Target(STEADY, 1 / 0.9, "the vendor's slower", words="the same against the vendor's client"),
        Target(STEADY, 1 / 0.95, "upload + read back", words="95 % of the bound with its read-back"),
        Target("opsctl", 1 / 0.9, "the slower", words="the whole process against the slower alone"),
    )
    notes = [f"CPU a point, µs: {name}: {_words(each)}" for name, each in servers.cpu.items()]
    if {STEADY, "upload", "scroll"} <= servers.cpu.keys():
        spent, cores = servers.cpu[STEADY], os.cpu_count() or 1
        least = max(*spent, sum(spent) / cores) / POINTS * 1e6
        by = max(sum(servers.cpu[each]) for each in ("upload", "scroll")) / POINTS * 1e6
        notes.append(
            f"with {cores} cores to themselves, and each process on one of them, these take at least {least:,.0f} µs a"
            f" point, and the slower stage by itself, client and server by turns, {by:,.0f}: {by / least:.2f} of it is"
            " the most that a copy with this read-back could reach"
        )
    title = f"qdrant-to-cloud, {POINTS:,} points of {WIDTH} between two stand-ins, verified"
    return Section("migrate-qdrant", title, "s", series, targets, tuple(notes), series.failed)


def _words(spent: tuple[float, float, float]) -> str:
    here, source, sink = (each / POINTS * 1e6 for each in spent)
    return f"client {here:,.0f}, source {source:,.0f}, sink {sink:,.0f}"
