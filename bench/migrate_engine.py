"""What the migration engine itself costs: memory to memory, so that nothing else is measured.

`python bench/migrate_engine.py rate 200000` gives records a second and CPU microseconds a record; `memory` compares
the peak of 10,000 and of 1,000,000 keys, each in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from opsctl.jobs import migrate
from opsctl.model.cancel import Cancel
from opsctl.model.migrate import Described, Estimate, Item, Limits, Record, Rejected, Removal
from opsctl.model.migrate_run import Migration

VALUE = "x" * 500


def short(data: bytes) -> bytes:
    """A digest of 16 bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


class Numbers:
    """A source of so many keys that keeps none of them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def describe(self, cancel: Cancel) -> Described:
        return Described("numbers", "1", "numbers", "numbers")

    def estimate(self, cancel: Cancel) -> Estimate:
        return Estimate(self.count)

    def scan(self, batch: int, cancel: Cancel) -> Iterator[Sequence[Record]]:
        for start in range(0, self.count, batch):
            keys = [b"memory:%09d" % (n * 7_919 % 1_000_000_007) for n in range(start, min(self.count, start + batch))]
            yield [Record(key, VALUE, short(key), 500, "string") for key in keys]

    def fetch(self, keys: Sequence[bytes], cancel: Cancel) -> Sequence[Record | None]:
        return [Record(key, VALUE, short(key), 500, "string") for key in keys]

    def remove(self, seen: Sequence[tuple[bytes, bytes]], cancel: Cancel) -> Sequence[Removal]:
        return [Removal.REMOVED] * len(seen)

    def dump(self, record: Record) -> Mapping[str, Any]:
        return {"type": "string", "value": record.value}

    def restore(self, dumped: Sequence[Mapping[str, Any]], cancel: Cancel) -> Sequence[str]:
        return ["there"] * len(dumped)

    def close(self) -> None:
        return


class Same:
    """A transform that does next to nothing."""

    workers = 1

    def describe(self) -> Mapping[str, Any]:
        return {}

    def apply(self, records: Sequence[Record], days: Mapping[bytes, str], cancel: Cancel) -> Sequence[Item | Rejected]:
        return [
            Item(
                each.key, f"00000000-0000-5000-8000-{each.key[-9:].decode():0>12}", each.value, each.digest, 500, "day"
            )
            for each in records
        ]

    def close(self) -> None:
        return


class Nowhere:
    """A sink that says it has what it was given."""

    def describe(self, cancel: Cancel) -> Described:
        return Described("nowhere", "1", "nowhere", "nowhere")

    def check(self, sample: Sequence[Item], cancel: Cancel) -> Sequence[str]:
        return ()

    def prepare(self, groups: Iterable[str], cancel: Cancel) -> None:
        return

    def write(self, items: Sequence[Item], cancel: Cancel) -> Sequence[Rejected]:
        return ()

    def read(self, items: Sequence[Item], cancel: Cancel) -> Sequence[bytes | None]:
        return [item.digest for item in items]

    def locate(self, ids: Sequence[str], cancel: Cancel) -> Mapping[str, str]:
        return {}

    def remove(self, written: Sequence[tuple[str, str, bytes]], cancel: Cancel) -> Sequence[Removal]:
        return [Removal.GONE] * len(written)

    def close(self) -> None:
        return


def once(count: int, batch: int = 256) -> dict[str, float]:
    """Copy, copy again, finish: seconds, CPU seconds, and the peak in MB."""
    figures: dict[str, float] = {"records": count}
    with tempfile.TemporaryDirectory() as folder:
        m = Migration(
            name="bench",
            run_id="bench",
            source=Numbers(count),
            transform=Same(),
            sink=Nowhere(),
            folder=Path(folder) / "run",
            ledger=Path(folder) / "ledger.db",
            limits=Limits(batch=batch),
            cancel=Cancel(),
            report=lambda _: None,
        )
        for name, act in (("copy", migrate.run), ("again", migrate.run), ("finish", migrate.finish)):
            begin, cpu = time.perf_counter(), time.process_time()
            receipt = act(m)
            figures[f"{name}_s"] = time.perf_counter() - begin
            figures[f"{name}_cpu_us_each"] = (time.process_time() - cpu) / count * 1e6
            figures[f"{name}_rate"] = count / figures[f"{name}_s"]
            assert receipt.wanted_checksum == receipt.stored_checksum
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def apart(count: int) -> dict[str, float]:
    """The same in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "one", str(count)], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(words: list[str]) -> None:
    """`rate [count]`, `memory [few many]`, or `one count`."""
    if words[:1] == ["memory"]:
        few, many = (int(each) for each in words[1:3]) if len(words) > 2 else (10_000, 1_000_000)
        low, high = apart(few), apart(many)
        print(json.dumps({"few": low, "many": high, "more_mb": high["peak_mb"] - low["peak_mb"]}, indent=2))
    else:
        print(json.dumps(once(int(words[1]) if len(words) > 1 else 200_000), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
