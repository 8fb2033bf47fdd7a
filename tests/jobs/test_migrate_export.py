"""A run's export as a table: each record once, as a rollback would put it back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.jobs.migrate_memory import MemorySource, Try, numbered

from opsctl.jobs import migrate
from opsctl.jobs.migrate_export import write
from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted


@pytest.fixture
def work(tmp_path: Path) -> Try:
    return Try(tmp_path, MemorySource(numbered(95)))


def test_the_last_line_of_a_key_counts(work: Try, tmp_path: Path) -> None:
    migrate.run(work.run())
    work.source.values[b"k1"] = b"changed since"
    migrate.run(work.run())
    done = write(work.run().export, tmp_path / "rows.jsonl", force=False, cancel=Cancel(None))
    assert (done.records, done.replaced) == (95, 1)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    (changed,) = [each for each in rows if each["key"] == "k1"]
    assert changed["record"] == work.source.dump(work.source.record(b"k1", b"changed since"))


def test_what_another_run_wrote_and_this_one_removed_has_no_item(work: Try, tmp_path: Path) -> None:
    migrate.run(work.run())
    migrate.finish(work.run("second"))
    write(work.run("second").export, tmp_path / "rows.csv", force=False, cancel=Cancel(None))
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 95
    assert {(each["id"], each["item_digest"]) for each in rows} == {("", "")}


def test_stopped_half_way_it_leaves_nothing(work: Try, tmp_path: Path) -> None:
    migrate.run(work.run())
    cancel = Cancel(None)
    cancel.cancel(15)
    before = set(tmp_path.iterdir())
    with pytest.raises(Interrupted):
        write(work.run().export, tmp_path / "rows.csv", force=False, cancel=cancel)
    assert set(tmp_path.iterdir()) == before
