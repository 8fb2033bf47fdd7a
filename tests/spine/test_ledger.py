"""The ledger of a migration: what it keeps through kills, full disks, and a million keys."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.jobs.small_disk import small_disk

from opsctl.model.errors import ExitCode, OpsError
from opsctl.model.migrate import Entry, State
from opsctl.spine.ledger import Ledger, Peek, Row
from opsctl.spine.ledger_file import DiskFull, LedgerBusy, LedgerDamaged

__all__ = ["small_disk"]


def rows(count: int, *, state: State = State.SEEN, source: bytes = b"s", day: str = "20250101") -> list[Row]:
    return [(b"k%d" % n, state, source, b"i", b"i", f"id-{n}", "group", day) for n in range(count)]


def put(ledger: Ledger, given: list[Row]) -> None:
    ledger.put(given, ledger.entries([row[0] for row in given]))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "private" / "ledger.db", "run-1")
    yield opened
    opened.close()


def test_a_key_has_one_row_however_often_it_is_put(ledger: Ledger) -> None:
    put(ledger, rows(3))
    put(ledger, rows(1, source=b"t", state=State.VERIFIED, day="20260202"))
    found = ledger.entries([b"k0", b"k1", b"none"])
    assert found[b"k0"] == Entry(b"k0", State.VERIFIED, b"t", b"i", "id-0", "group", "20260202", b"i", "run-1", 1)
    assert (found[b"k1"].source_digest, found[b"k1"].day) == (b"s", "20250101")
    assert b"none" not in found
    assert ledger.counts() == {State.SEEN: 2, State.VERIFIED: 1}


def test_keys_with_the_same_hash_are_told_apart(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsctl.spine.ledger._hash", lambda _: 7)
    put(ledger, rows(10))
    put(ledger, rows(5, source=b"t"))
    found = ledger.entries([b"k1", b"k9"])
    assert {key: row.source_digest for key, row in found.items()} == {b"k1": b"t", b"k9": b"s"}


def test_rows_may_be_marked_while_they_are_gone_through(ledger: Ledger) -> None:
    put(ledger, rows(1000, state=State.VERIFIED))
    seen = []
    for chunk in ledger.chunks(State.VERIFIED, size=64):
        assert len(chunk) <= 64
        seen += [row.key for row in chunk]
        ledger.mark(chunk, State.FINISHED)
    assert seen == [b"k%d" % n for n in range(1000)]
    assert ledger.counts() == {State.FINISHED: 1000}
    assert sum(len(chunk) for chunk in ledger.proofs(State.FINISHED)) == 1000
    assert ledger.sample(5) == []


def test_where_each_export_is_settled_goes_with_its_rows(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.exports() == []
    ledger.close()
    second = Ledger(ledger.path, "run-2", tmp_path / "export.jsonl")
    second.put(rows(2), {}, settled=77)
    with pytest.raises(OpsError, match="cannot be used"):
        second.put([*rows(3), (b"x", State.SEEN, None, b"", b"", "", "", "")], {}, settled=99)  # type: ignore[list-item]
    assert [(each.run, each.settled) for each in second.exports()] == [("run-2", 77)]
    assert second.counts() == {State.SEEN: 2}
    second.close()


def test_more_keys_than_one_question_holds(ledger: Ledger) -> None:
    put(ledger, rows(1234))
    assert len(ledger.entries([b"k%d" % n for n in range(2000)])) == 1234


def test_keys_of_any_bytes(ledger: Ledger) -> None:
    zoo = [b"", b"\x00", b"\xff\xfe", "ü{slot}".encode(), b"x" * 1_000_000]
    put(ledger, [(key, State.SEEN, b"s", b"i", b"", "id", "", "") for key in zoo])
    assert set(ledger.entries(zoo)) == set(zoo)


def test_one_run_at_a_time_and_others_may_look(ledger: Ledger, tmp_path: Path) -> None:
    put(ledger, rows(2))
    with pytest.raises(LedgerBusy, match="another run") as caught:
        Ledger(ledger.path, "run-2")
    assert caught.value.info.next == "opsctl migrate attach run-1"
    peek = Peek(ledger.path)
    assert len(peek.entries([b"k0", b"k1", b"k2"])) == 2
    peek.close()
    nothing = Peek(tmp_path / "none")
    assert nothing.entries([b"k0"]) == {}
    assert not (tmp_path / "none").exists()
    ledger.close()
    Ledger(ledger.path, "run-2").close()


def test_its_files_are_private(ledger: Ledger) -> None:
    put(ledger, rows(2))
    assert stat.S_IMODE(ledger.path.parent.stat().st_mode) == 0o700
    files = list(ledger.path.parent.iterdir())
    assert len(files) >= 3
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


def test_a_damaged_file_is_named_with_the_way_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database, and it is long enough to be looked at" * 100)
    with pytest.raises(LedgerDamaged) as caught:
        Ledger(path, "run")
    assert caught.value.info.next.startswith(f"mv {path} ")
    path.unlink()
    Ledger(path, "run").close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OpsError, match="cannot be opened"):
        Ledger(tmp_path / "file" / "ledger.db", "run")


CHILD = """
import sys
from pathlib import Path
from opsctl.spine.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), "killed")
for n in range(10**6):
    keys = [b"%d-%d" % (n, m) for m in range(50)]
    for state in (0, 1):
        ledger.put([(key, state, b"s", b"i", b"i", "id", "g", "day") for key in keys], ledger.entries(keys))
    print(n, flush=True)
"""


def test_what_was_committed_outlives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        last = 0
        for line in child.stdout:
            last = int(line)
            if last >= 20:
                os.kill(child.pid, signal.SIGKILL)
                break
        child.communicate(timeout=30)
        ledger = Ledger(path, "after")
        found = ledger.entries([b"%d-%d" % (n, m) for n in range(last + 1) for m in range(50)])
        assert len(found) == (last + 1) * 50
        assert {row.state for row in found.values()} == {State.VERIFIED}
        ledger.close()


def test_a_full_disk_is_said_and_what_was_committed_is_there(small_disk: Path) -> None:
    ledger = Ledger(small_disk / "ledger.db", "run")
    done = 0
    with pytest.raises(DiskFull) as caught:
        for n in range(10_000):
            ledger.put([(b"%d-%d" % (n, m), State.SEEN, b"s", b"i", b"", "id", "g", "day") for m in range(100)], {})
            done += 1
    assert caught.value.exit_code is ExitCode.FAILED
    assert str(ledger.path) in caught.value.info.what
    ledger.close()
    again = Ledger(small_disk / "ledger.db", "run")
    assert again.counts()[State.SEEN] == done * 100
    again.close()
