"""A migration killed by SIGKILL at random and at named points: run again, nothing is lost and nothing doubled.

The suite runs a seeded sample; OPSCTL_TORTURE_MIGRATE=100 kills so often and keeps what it saw as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.stores.redis_server import RedisServer, redis_at_rest
from tests.torture.migrate_driver import POINTS, identity

from opsctl.model.checksum import Checksum
from opsctl.model.migrate import digest

__all__ = ["redis_at_rest"]
pytestmark = pytest.mark.torture

ROUNDS = int(os.environ.get("OPSCTL_TORTURE_MIGRATE", "5"))
SEED = int(os.environ.get("OPSCTL_TORTURE_SEED", "20261128"))
DRIVER = Path(__file__).with_name("migrate_driver.py")
RESULTS = Path(__file__).parents[2] / "bench" / "results"
KEYS = 1_500
KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass
class Field:
    """Two databases of one server, the folder of the runs, and what was ever put at the source."""

    server: RedisServer
    folder: Path
    values: dict[bytes, bytes] = field(default_factory=dict)
    sealed: bool = True  # whether the export is encrypted: every second time

    def client(self, number: int) -> redis.Redis:
        return redis.Redis.from_url(self.url(number))

    def url(self, number: int) -> str:
        return self.server.url.rpartition("/")[0] + f"/{number}"

    def fill(self) -> None:
        """Strings with a day of their own and without, a few that cannot be migrated."""
        for number in (1, 2):
            self.client(number).flushdb()
        self.sealed = not self.sealed
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.values = {b"memory:%d" % n: b"text %d" % n for n in range(KEYS)}
        self.values |= {b"memory:%d" % n: b"2025010%d|text %d" % (n % 9 + 1, n) for n in range(0, KEYS, 3)}
        self.values |= {b"memory:%d" % n: b"bad" for n in range(5, KEYS, 300)}
        self.values |= {b"": b"no name", b"\xff\x00{slot}": b"binary", "ü".encode(): "ünïcode".encode()}
        self.client(1).mset(self.values)

    def change(self, luck: random.Random) -> None:
        """What clients do meanwhile: other values, another day, new keys; only on keys that are there still."""
        source = self.client(1)
        for key in luck.sample(sorted(self.values), 40):
            value = b"20250202|moved" if luck.random() < 0.3 else b"changed %d" % luck.randrange(10**6)
            if self.values[key] != b"bad" and source.set(key, value, xx=True):
                self.values[key] = value

    def argv(self, **more: Any) -> list[str]:
        told = {"source": self.url(1), "sink": self.url(2), "folder": str(self.folder), "run": "run"}
        told |= {"action": "delete", "workers": 2, "writers": 2, "day": "20250101", **more}
        told |= {"export_key": KEY} if self.sealed else {}
        return [sys.executable, str(DRIVER), json.dumps(told)]

    def run(self, **more: Any) -> dict[str, Any]:
        """To its end."""
        done = subprocess.run(self.argv(**more), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{more}\n{done.stdout}\n{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def good(self) -> dict[bytes, bytes]:
        return {key: value.rpartition(b"|")[2] for key, value in self.values.items() if value != b"bad"}

    def whole(self) -> None:
        """Every object is in the sink once, as it was last at the source; the source has only what was refused."""
        sink, found = self.client(2), []
        for group in sink.keys("*"):
            found += [(name.decode(), body) for name, body in sink.hgetall(group).items()]
        assert len(found) == len(dict(found)), "an object is in two groups"
        assert dict(found) == {identity(key): body for key, body in self.good().items()}
        bad = {key for key, value in self.values.items() if value == b"bad"}
        assert set(self.client(1).keys("*")) == bad

    def checksum(self) -> str:
        sum_ = Checksum()
        for key, body in self.good().items():
            sum_.add(key, digest(body))
        return sum_.hex()


@pytest.fixture(scope="module")
def ground(redis_at_rest: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Field:
    return Field(redis_at_rest, tmp_path_factory.mktemp("killed") / "runs")


@pytest.fixture(scope="module")
def pace(ground: Field) -> float:
    """Seconds of a whole run without a kill."""
    ground.fill()
    begin = time.monotonic()
    receipt = ground.run()
    ground.whole()
    assert receipt["wanted"] == receipt["stored"] == ground.checksum()
    return time.monotonic() - begin


@pytest.fixture(scope="module")
def record() -> Iterator[list[dict[str, Any]]]:
    """What was seen, kept when the rounds are more than the suite's."""
    seen: list[dict[str, Any]] = []
    yield seen
    if ROUNDS > 5 and seen:
        RESULTS.mkdir(parents=True, exist_ok=True)
        ended = sum(each["ended"] for each in seen)
        summary = {"seed": SEED, "rounds": len(seen), "ended_before_the_kill": ended, "kills": seen}
        (RESULTS / "torture-migrate.json").write_text(json.dumps(summary, indent=2))


def again(ground: Field, luck: random.Random, *, lost: bool) -> str:
    """Run it once more, another day, with other numbers of threads, every third time without its ledger."""
    if lost:
        for file in ground.folder.glob("ledger.db*"):
            file.unlink()
    else:
        ground.change(luck)
    run = luck.choice(["run", "another"])
    threads = {"workers": luck.randint(1, 4), "writers": luck.randint(1, 4)}
    receipt = ground.run(run=run, day="20250606", refuse=0.05, **threads)
    assert receipt["wanted"] == receipt["stored"]
    ground.whole()
    if not lost:
        assert receipt["wanted"] == ground.checksum()
    return f"{run}, {threads}{', without its ledger' if lost else ''}"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_at_a_random_moment(ground: Field, pace: float, number: int, record: list[dict[str, Any]]) -> None:
    luck = random.Random(SEED + number)
    ground.fill()
    process = subprocess.Popen(ground.argv(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    after = luck.uniform(0.1, 1.0) * pace
    time.sleep(after)
    ended = process.poll() is not None
    process.kill()
    process.communicate(timeout=30)
    there, copied = ground.client(1).dbsize(), sum(ground.client(2).hlen(each) for each in ground.client(2).keys("*"))
    how = again(ground, luck, lost=number % 3 == 1)
    seen = {"number": number, "after": round(after, 3), "ended": ended, "at_the_source": there, "in_the_sink": copied}
    record.append({**seen, "rerun": how})


@pytest.mark.parametrize(("number", "point"), list(enumerate(POINTS)), ids=list(POINTS))
def test_killed_at_a_named_point(ground: Field, number: int, point: str) -> None:
    luck = random.Random(SEED + number)
    ground.fill()
    died = subprocess.run(ground.argv(kill=f"{point}:3"), capture_output=True, timeout=120, check=False)
    assert died.returncode == -9, died.stderr.decode()
    again(ground, luck, lost=number % 3 == 1)


def test_rolled_back_after_a_kill_all_is_as_before(ground: Field) -> None:
    ground.fill()
    before = dict(ground.values)
    for point in ("before-ledger:2", "after-removal:3"):
        died = subprocess.run(ground.argv(kill=point), capture_output=True, timeout=120, check=False)
        assert died.returncode == -9, died.stderr.decode()
    assert ground.run(action="rollback")["outcome"] == "rolled-back"
    source = ground.client(1)
    assert {key: source.get(key) for key in source.keys("*")} == before
    assert ground.client(2).keys("*") == []
