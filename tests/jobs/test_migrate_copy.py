"""Copy and verify: what is new is written once, what is verified is left alone, what is refused is kept apart."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tests.jobs.migrate_memory import MemorySink, MemorySource, Try, identity, numbered

from opsctl.jobs import migrate
from opsctl.jobs.migrate_pace import in_window
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import Limits
from opsctl.spine.ledger_file import LedgerBusy


@pytest.fixture
def work(tmp_path: Path) -> Try:
    return Try(tmp_path, MemorySource(numbered(95)))


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_everything_is_written_read_back_and_receipted(work: Try) -> None:
    receipt = migrate.run(work.run())
    work.whole()
    assert receipt.outcome == "complete"
    assert (receipt.counts.scanned, receipt.counts.verified, receipt.verified_total) == (95, 95, 95)
    assert receipt.wanted_checksum == receipt.stored_checksum != "0" * 32
    assert json.loads(work.run().receipt.read_text())["counts"]["verified"] == 95
    assert len(lines(work.run().export)) == 95
    assert work.told[-1].state == "ended"
    assert "a source of a test" in receipt.notes


def test_all_files_are_private(work: Try) -> None:
    m = work.run()
    migrate.run(m)
    for path in (m.folder, m.ledger.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (*m.folder.iterdir(), *m.ledger.parent.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_rerun_writes_only_what_changed(work: Try) -> None:
    first = migrate.run(work.run())
    work.sink.writes = 0
    work.source.values[b"k1"] = b"other"
    work.source.values[b"new"] = b"new"
    second = migrate.run(work.run("second"))
    assert work.sink.writes == 2
    assert (second.counts.unchanged, second.counts.verified, second.verified_total) == (94, 2, 96)
    assert second.wanted_checksum != first.wanted_checksum
    work.whole()


def test_without_a_ledger_nothing_is_doubled(work: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsctl.jobs.migrate_read.today", lambda: "20250101")
    first = migrate.run(work.run())
    for path in work.run().ledger.parent.iterdir():
        path.unlink()
    monkeypatch.setattr("opsctl.jobs.migrate_read.today", lambda: "20250202")
    again = migrate.run(work.run("again"))
    work.whole()
    assert again.wanted_checksum == first.wanted_checksum
    assert not [group for group, _id in work.sink.stored if group == "20250202"]


def test_a_record_without_a_day_stays_in_the_group_of_its_first_sight(
    work: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsctl.jobs.migrate_read.today", lambda: "20250101")
    migrate.run(work.run())
    monkeypatch.setattr("opsctl.jobs.migrate_read.today", lambda: "20250202")
    work.source.values[b"k1"] = b"changed"
    migrate.run(work.run("second"))
    assert work.sink.stored["20250101", identity(b"k1")] == b"changed"
    work.whole()


def test_a_record_whose_own_day_changes_moves(work: Try) -> None:
    migrate.run(work.run())
    work.source.values[b"k3"] = b"20250303|moved"
    migrate.run(work.run("second"))
    assert work.sink.stored["20250303", identity(b"k3")] == b"moved"
    work.whole()


def test_keys_that_a_scan_gives_many_times_are_there_once(work: Try) -> None:
    work.source.repeat = 5
    receipt = migrate.run(work.run())
    work.whole()
    assert receipt.counts.scanned == 5 * 95
    assert receipt.counts.verified + receipt.counts.unchanged == 5 * 95


def test_a_value_that_changes_between_two_sights_ends_as_the_newer(work: Try) -> None:
    def change(number: int) -> None:
        if number % 3 == 0:
            for key in list(work.source.values)[:40]:
                work.source.values[key] = b"turn %d" % number

    work.source.repeat, work.source.before = 8, change
    migrate.run(work.run())
    work.source.before = lambda _: None
    migrate.run(work.run("second"))
    work.whole()


def test_what_cannot_be_migrated_goes_to_quarantine_with_its_reason(work: Try) -> None:
    work.source.values |= {b"bad": b"bad", b"\xff\x00": b"bad"}
    work.source.faults = {b"k7"}
    receipt = migrate.run(work.run())
    assert receipt.outcome == "partial"
    assert receipt.counts.quarantined == 3
    assert dict(receipt.counts.reasons) == {"unparsable": 2, "wrong-type": 1}
    kept = lines(work.run().quarantine)
    assert {each["code"] for each in kept} == {"unparsable", "wrong-type"}
    assert {"\\xff\x00", "bad", "k7"} == {each["key"] for each in kept}
    work.whole()


def test_an_object_refused_in_company_gets_a_second_try_by_itself(work: Try) -> None:
    tried: set[bytes] = set()

    def once(item: object) -> bool:
        key = item.key  # type: ignore[attr-defined]
        new = key not in tried and hash(key) % 20 == 0
        tried.add(key)
        return new

    work.sink.refuses = once
    assert migrate.run(work.run()).outcome == "complete"
    work.whole()


def test_an_object_that_is_refused_twice_is_in_quarantine_with_the_servers_words(work: Try) -> None:
    work.sink.refuses = lambda item: item.key == b"k4"
    receipt = migrate.run(work.run())
    assert (receipt.counts.verified, dict(receipt.counts.reasons)) == (94, {"refused": 1})
    assert [each["reason"] for each in lines(work.run().quarantine)] == ["the server said no"]
    work.sink.refuses = lambda _: False
    again = migrate.replay(work.run())
    assert (again.outcome, again.counts.verified, again.verified_total) == ("complete", 1, 95)
    assert not work.run().quarantine.read_text()
    work.whole()


def test_a_replay_keeps_what_is_refused_again_and_forgets_what_is_gone(work: Try) -> None:
    work.source.values |= {b"bad1": b"bad", b"bad2": b"bad", b"bad3": b"bad"}
    migrate.run(work.run())
    work.source.values[b"bad1"] = b"good now"
    del work.source.values[b"bad2"]
    receipt = migrate.replay(work.run())
    assert (receipt.counts.verified, receipt.counts.vanished, receipt.counts.quarantined) == (1, 1, 1)
    assert [each["key"] for each in lines(work.run().quarantine)] == ["bad3"]
    work.whole()


def test_what_reads_back_as_another_is_written_again_a_few_times_then_kept_apart(work: Try) -> None:
    turns: dict[bytes, int] = {}

    def tamper(item: object) -> bytes:
        key, body = item.key, item.body  # type: ignore[attr-defined]
        turns[key] = turns.get(key, 0) + 1
        return b"rotten" if key == b"k1" or (key == b"k2" and turns[key] < 3) else body

    work.sink.tamper = tamper
    receipt = migrate.run(work.run())
    assert dict(receipt.counts.reasons) == {"mismatch": 1}
    assert (turns[b"k1"], turns[b"k2"]) == (3, 3)
    assert receipt.counts.verified == 94


def test_a_sink_that_was_emptied_is_noticed_by_the_next_run(work: Try) -> None:
    migrate.run(work.run())
    work.sink.stored.clear()
    receipt = migrate.run(work.run("second"))
    assert (receipt.counts.verified, receipt.counts.unchanged) == (95, 0)
    assert any("95 keys that were verified once" in note for note in receipt.notes)
    work.whole()


def test_what_the_sink_says_against_such_items_ends_the_run_before_a_write(work: Try) -> None:
    work.sink.findings = ("it has vectors of 768, these have 384",)
    with pytest.raises(ConfigError) as caught:
        migrate.run(work.run())
    assert "768" in caught.value.info.why
    assert (work.sink.writes, len(lines(work.run().export))) == (0, 0)
    assert json.loads(work.run().receipt.read_text())["outcome"] == "failed"


def test_a_try_stops_at_its_limit(work: Try) -> None:
    work.limits = Limits(batch=10, most=25)
    assert migrate.run(work.run()).counts.verified == 25
    assert migrate.run(work.run("second")).counts.verified == 25, "a second try goes on where the first ended"
    work.limits = Limits(batch=10)
    assert migrate.run(work.run("third")).counts.verified == 45
    work.whole()


def test_two_runs_with_one_ledger_are_refused(work: Try) -> None:
    caught: list[str] = []

    def second(number: int) -> None:
        if number == 2:
            with pytest.raises(LedgerBusy) as busy:
                migrate.run(replace(work.run("second"), source=MemorySource({})))
            caught.append(busy.value.info.next)

    work.source.before = second
    migrate.run(work.run())
    assert caught == ["opsctl migrate attach first"]


def test_large_values_are_cut_into_smaller_batches(tmp_path: Path) -> None:
    sizes: list[int] = []
    big = Try(tmp_path, MemorySource({b"k%d" % n: bytes([n]) * 3_000_000 for n in range(12)}))
    big.sink = MemorySink(before=lambda: sizes.append(1))
    assert migrate.run(big.run()).outcome == "complete"
    assert len(sizes) >= 4, "3 of 3 MB in a batch"
    big.whole()


def test_windows_also_go_over_midnight() -> None:
    assert in_window(60, (60, 360))
    assert not in_window(360, (60, 360))
    assert in_window(23 * 60, (22 * 60, 6 * 60))
    assert in_window(5 * 60 + 59, (22 * 60, 6 * 60))
    assert not in_window(12 * 60, (22 * 60, 6 * 60))
    assert in_window(12 * 60, (0, 0))
