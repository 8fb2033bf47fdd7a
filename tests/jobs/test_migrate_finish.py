"""Finish, rollback and dry run: nothing leaves the source unproved, and all of it can come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.jobs.migrate_memory import MemorySource, Try, identity, numbered

from opsctl.jobs import migrate
from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted, UsageError
from opsctl.model.migrate import Limits, State
from opsctl.spine.ledger import Ledger


@pytest.fixture
def work(tmp_path: Path) -> Try:
    return Try(tmp_path, MemorySource(numbered(95)))


def test_finish_removes_what_was_verified_and_is_the_same_still(work: Try) -> None:
    copied = migrate.run(work.run())
    work.source.values[b"k1"] = b"changed since"
    work.source.values[b"late"] = b"came later"
    del work.source.values[b"k2"]
    receipt = migrate.finish(work.run())
    assert work.source.values == {b"k1": b"changed since", b"late": b"came later"}
    assert (receipt.counts.removed, receipt.counts.changed, receipt.counts.vanished) == (93, 1, 1)
    assert (receipt.outcome, receipt.wanted_checksum) == ("finished", copied.wanted_checksum)
    assert len(work.sink.stored) == 95
    again = migrate.run(work.run())
    assert again.counts.verified == 2
    assert work.sink.stored[next(each for each in work.sink.stored if each[1] == identity(b"k1"))] == b"changed since"


def test_nothing_is_removed_that_the_sink_no_longer_has(work: Try) -> None:
    migrate.run(work.run())
    (lost,) = [each for each in work.sink.stored if each[1] == identity(b"k5")]
    del work.sink.stored[lost]
    (rotten,) = [each for each in work.sink.stored if each[1] == identity(b"k6")]
    work.sink.stored[rotten] = b"rotten"
    receipt = migrate.finish(work.run())
    assert set(work.source.values) == {b"k5", b"k6"}
    assert receipt.outcome == "partial"
    assert dict(receipt.counts.reasons) == {"mismatch": 2}
    assert receipt.wanted_checksum != receipt.stored_checksum
    assert migrate.run(work.run(), delete=True).outcome == "finished"
    assert not work.source.values
    assert len(work.sink.stored) == 95


def test_copy_and_delete_in_one_go(work: Try) -> None:
    receipt = migrate.run(work.run(), delete=True)
    assert (receipt.counts.verified, receipt.counts.removed, receipt.outcome) == (95, 95, "finished")
    assert not work.source.values


def test_what_is_refused_stays_at_the_source(work: Try) -> None:
    work.source.values[b"bad"] = b"bad"
    receipt = migrate.run(work.run(), delete=True)
    assert receipt.outcome == "partial"
    assert work.source.values == {b"bad": b"bad"}


def test_a_finish_that_is_stopped_goes_on(work: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.run(work.run())
    whole, turns = work.source.remove, []

    def remove(seen: object, cancel: Cancel) -> object:
        turns.append(seen)
        if len(turns) == 2:
            work.cancel.cancel()
        return whole(seen, cancel)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(work.source, "remove", remove)
        with pytest.raises(Interrupted):
            migrate.finish(work.run(limits=Limits(batch=5, queue=1)))
    assert 0 < len(work.source.values) < 95
    work.cancel = Cancel()
    assert migrate.finish(work.run()).outcome == "finished"
    assert not work.source.values


def test_a_kill_between_removal_and_ledger_loses_nothing(work: Try) -> None:
    migrate.run(work.run())
    work.source.values.clear()  # removed, and the ledger never heard of it
    receipt = migrate.finish(work.run())
    assert (receipt.counts.removed, receipt.counts.vanished, receipt.outcome) == (0, 95, "finished")
    assert len(work.sink.stored) == 95
    before = numbered(95)
    migrate.rollback(work.run())
    assert work.source.values == before


def test_rollback_leads_back_to_where_it_began(work: Try) -> None:
    before = dict(work.source.values)
    migrate.run(work.run(), delete=True)
    receipt = migrate.rollback(work.run())
    assert work.source.values == before
    assert not work.sink.stored
    assert receipt.outcome == "rolled-back"
    assert "95 put back at the source" in receipt.notes
    assert "95 taken back from the target" in receipt.notes
    assert migrate.rollback(work.run()).counts.removed == 0
    assert migrate.run(work.run("second")).counts.verified == 95
    work.whole()


def test_rollback_leaves_alone_what_others_changed(work: Try) -> None:
    migrate.run(work.run(), delete=True)
    work.source.values[b"k1"] = b"a newer one"
    (changed,) = [each for each in work.sink.stored if each[1] == identity(b"k2")]
    work.sink.stored[changed] = b"edited"
    receipt = migrate.rollback(work.run())
    assert work.source.values[b"k1"] == b"a newer one"
    assert work.sink.stored == {changed: b"edited"}
    assert receipt.counts.changed == 2


def test_rollback_puts_back_the_newest_that_was_copied(work: Try) -> None:
    migrate.run(work.run())
    work.source.values[b"k1"] = b"newer"
    migrate.run(work.run(), delete=True)
    migrate.rollback(work.run())
    assert work.source.values[b"k1"] == b"newer"
    assert not work.sink.stored


def test_rollback_needs_no_ledger(work: Try) -> None:
    before = dict(work.source.values)
    migrate.run(work.run(), delete=True)
    for path in work.run().ledger.parent.iterdir():
        path.unlink()
    migrate.rollback(work.run())
    assert (work.source.values, work.sink.stored) == (before, {})


def test_what_an_earlier_run_copied_and_this_one_removed_comes_back_by_this_ones_rollback(work: Try) -> None:
    before = dict(work.source.values)
    migrate.run(work.run("first"))
    work.source.values[b"new"] = b"new"
    migrate.run(work.run("second"), delete=True)
    for path in work.run("first").folder.iterdir():
        path.unlink()
    migrate.rollback(work.run("second"))
    assert work.source.values == before | {b"new": b"new"}
    assert len(work.sink.stored) == 95, "what the first run wrote is the first run's"
    again = migrate.run(work.run("third"))
    assert (again.counts.unchanged, again.counts.verified) == (95, 1)


def test_rollback_without_an_export_says_so(work: Try) -> None:
    with pytest.raises(UsageError, match="no export"):
        migrate.rollback(work.run())


def test_a_torn_last_line_of_the_export_hinders_nothing(work: Try) -> None:
    before = dict(work.source.values)
    migrate.run(work.run())
    with work.run().export.open("ab") as file:
        file.write(b'{"key64": "torn')
    migrate.run(work.run(), delete=True)
    migrate.rollback(work.run())
    assert work.source.values == before


def test_a_dry_run_counts_and_writes_nothing(work: Try) -> None:
    work.source.values |= {b"bad": b"bad", b"worse": b"bad"}
    work.source.faults, work.source.ttls = {b"k7"}, {b"k1": 60.0, b"k2": 3600.0}
    work.sink.findings = ("vectors of 384 do not fit",)
    seen = migrate.dry_run(work.run())
    assert not (work.sink.stored or work.run().folder.exists() or work.run().ledger.exists())
    assert (seen.records, seen.work, seen.unchanged, seen.refused) == (97, 97, 0, 3)
    assert [(each.code, each.count) for each in seen.refusals] == [("unparsable", 2), ("wrong-type", 1)]
    assert seen.refusals[0].examples == ("bad: not JSON", "worse: not JSON")
    assert (seen.expiry.count, seen.expiry.shortest, seen.expiry.longest) == (2, 60.0, 3600.0)
    assert seen.expiry.promise == "TTLs are not kept"
    assert seen.findings == ("vectors of 384 do not fit",)
    assert sum(seen.groups.values()) + seen.refused == 97 or seen.group_count > len(seen.groups)
    assert seen.eta is not None
    assert dict(seen.kinds) == {"string": 97}


def test_a_dry_run_after_a_run_sees_what_is_left(work: Try) -> None:
    migrate.run(work.run())
    work.source.values[b"new"] = b"new"
    seen = migrate.dry_run(work.run("second"))
    assert (seen.records, seen.unchanged, seen.work) == (96, 95, 1)
    assert not work.run("second").folder.exists()


def test_the_ledger_tells_what_became_of_each_key(work: Try) -> None:
    work.source.values[b"bad"] = b"bad"
    migrate.run(work.run(), delete=True)
    ledger = Ledger(work.run().ledger, "looks")
    assert ledger.counts() == {State.FINISHED: 95, State.QUARANTINED: 1}
    ledger.close()
    written = json.loads(work.run().receipt.read_text())
    assert written["counts"]["removed"] == 95
    assert json.loads((work.run().folder / "receipt-partial.json").read_text()) == written


def test_a_dry_run_of_both_foresees_what_they_do_and_writes_nothing(work: Try) -> None:
    migrate.run(work.run())
    work.source.values[b"k1"] = b"changed since"
    del work.source.values[b"k2"]
    (lost,) = [each for each in work.sink.stored if each[1] == identity(b"k5")]
    del work.sink.stored[lost]
    files = {each: each.read_bytes() for each in work.folder.rglob("*.json*")}
    before = dict(work.source.values), dict(work.sink.stored)
    foreseen = migrate.foresee(work.run(), "finish")
    assert foreseen.source == {"delete": 92, "changed": 1, "gone": 1, "lost": 1}
    assert (dict(work.source.values), dict(work.sink.stored)) == before
    assert {each: each.read_bytes() for each in work.folder.rglob("*.json*")} == files
    done = migrate.finish(work.run())
    assert (done.counts.removed, done.counts.changed, done.counts.vanished) == (92, 1, 1)

    back = migrate.foresee(work.run(), "rollback")
    assert back.source == {"restore": 93, "there": 1, "changed": 1}
    assert back.sink == {"remove": 94, "gone": 1}
    receipt = migrate.rollback(work.run())
    assert {"93 put back at the source", "94 taken back from the target"} <= set(receipt.notes)
    with pytest.raises(UsageError, match="no export"):
        migrate.foresee(work.run("never"), "rollback")


def test_a_rollback_says_who_wrote_what_it_leaves_in_the_sink(work: Try) -> None:
    migrate.run(work.run("one"))
    work.source.values[b"late"] = b"came later"
    before = dict(work.source.values)
    migrate.run(work.run("two"), delete=True)
    assert migrate.foresee(work.run("two"), "rollback").left == {"one": 95}
    receipt = migrate.rollback(work.run("two"))
    assert (work.source.values, len(work.sink.stored), receipt.left) == (before, 95, {"one": 95})
    assert "95 at the target were written by run one, and stay there" in receipt.notes
    assert migrate.rollback(work.run("one")).left == {}
    assert (work.source.values, work.sink.stored) == (before, {})


def test_what_the_stores_say_at_the_beginning_goes_with_the_copy_alone(work: Try) -> None:
    assert "a source of a test" in migrate.run(work.run()).notes
    assert "a source of a test" not in migrate.finish(work.run()).notes
    assert "a source of a test" not in migrate.rollback(work.run()).notes
    assert "a source of a test" in migrate.run(work.run("second"), delete=True).notes
