"""Whatever goes wrong in whichever thread, a migration ends, says why, and goes on later without loss."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.jobs.migrate_memory import MemorySource, Try, numbered
from tests.jobs.small_disk import grow, small_disk

from opsctl.jobs import migrate
from opsctl.jobs.migrate_flow import Channel, Crew, Flight
from opsctl.jobs.migrate_pace import Pace
from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, ExitCode, Interrupted, UnreachableError
from opsctl.model.migrate import Limits
from opsctl.spine import runfiles
from opsctl.spine.ledger import Ledger
from opsctl.spine.ledger_file import DiskFull, disk_full

__all__ = ["small_disk"]


@pytest.fixture
def work(tmp_path: Path) -> Try:
    return Try(tmp_path, MemorySource(numbered(400)))


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    left = [each.name for each in threading.enumerate() if each.name.startswith("migrate-")]
    assert not left, "a thread outlived its migration"


def raising(error: Exception, after: int) -> Callable[..., None]:
    """A hook that raises at a later call."""
    turns = iter(range(10**9))

    def hook(*_: object) -> None:
        if next(turns) >= after:
            raise error

    return hook


GONE = UnreachableError("the store went away", next="opsctl status")


@pytest.mark.parametrize("side", ["source", "transform", "sink"])
@pytest.mark.parametrize("after", [0, 7])
def test_an_error_of_either_side_ends_the_run_with_that_error(work: Try, side: str, after: int) -> None:
    getattr(work, side).before = raising(GONE, after)
    with pytest.raises(UnreachableError, match="went away"):
        migrate.run(work.run())
    written = json.loads(work.run().receipt.read_text())
    assert written["outcome"] == "failed"
    assert "ended by: the store went away" in written["notes"]
    getattr(work, side).before = lambda *_: None
    assert migrate.run(work.run()).outcome == "complete"
    work.whole()


@pytest.mark.parametrize("side", ["source", "transform", "sink"])
def test_a_bug_of_either_side_is_raised_as_it_is(work: Try, side: str) -> None:
    getattr(work, side).before = raising(ZeroDivisionError("a bug"), 3)
    with pytest.raises(ZeroDivisionError):
        migrate.run(work.run())


def test_a_transform_that_forgets_a_record_is_a_bug_and_no_loss(work: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = work.transform.apply
    monkeypatch.setattr(work.transform, "apply", lambda *given: whole(*given)[1:])
    with pytest.raises(ValueError, match="zip"):
        migrate.run(work.run())


@pytest.mark.parametrize("place", ["append", "put"])
def test_a_full_disk_ends_the_run_and_says_how_to_go_on(work: Try, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    full = raising(disk_full(work.run().ledger), 3)
    with monkeypatch.context() as patched:
        patched.setattr(runfiles.Lines if place == "append" else Ledger, place, lambda *_, **__: full())
        patched.setattr("opsctl.jobs.migrate_stages.AT_ONCE", 1)
        patched.setattr("opsctl.jobs.migrate_settle.ROWS", 1)
        with pytest.raises(DiskFull) as caught:
            migrate.run(work.run())
    assert caught.value.exit_code is ExitCode.FAILED
    assert caught.value.info.next.endswith("opsctl migrate resume first")
    assert migrate.run(work.run()).outcome == "complete"
    work.whole()


@pytest.mark.parametrize("full", ["ledger", "folder"])
def test_a_disk_that_is_full_indeed_loses_nothing(tmp_path: Path, small_disk: Path, full: str) -> None:
    work = Try(tmp_path, MemorySource(numbered(8_000)), limits=Limits(batch=100))
    m = work.run(**{full: small_disk / "it"})
    with pytest.raises(DiskFull) as caught:
        migrate.run(m)
    assert caught.value.exit_code is ExitCode.FAILED
    grow(small_disk, "50m")
    assert migrate.run(m, delete=True).outcome == "finished"
    assert (len(work.sink.stored), work.source.values) == (8_000, {})


def test_a_source_that_waits_is_let_go_when_the_sink_fails(work: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = work.source.scan

    def scan(batch: int, cancel: Cancel) -> Iterator[object]:
        yield from itertools.islice(whole(batch, cancel), 3)
        assert cancel.wait(60), "nobody ended it"
        cancel.check()

    monkeypatch.setattr(work.source, "scan", scan)
    work.sink.before = raising(GONE, 1)
    with pytest.raises(UnreachableError):
        migrate.run(work.run())


def test_a_reporter_that_raises_leaves_no_thread_behind(work: Try) -> None:
    def report(_progress: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        migrate.run(work.run(report=report))


def test_a_stop_drains_says_how_to_go_on_and_the_rest_is_done_later(work: Try) -> None:
    work.source.before = lambda number: work.cancel.cancel(15) if number == 12 else None
    with pytest.raises(Interrupted) as caught:
        migrate.run(work.run())
    assert caught.value.exit_code is ExitCode.TERMINATED
    assert caught.value.info.next == "opsctl migrate resume first"
    written = json.loads(work.run().receipt.read_text())
    assert written["outcome"] == "stopped"
    read = written["counts"]["scanned"]
    assert 0 < written["counts"]["verified"] <= read < 400
    assert written["wanted_checksum"] == written["stored_checksum"]
    work.cancel, work.source.before = Cancel(), lambda _: None
    assert migrate.run(work.run()).outcome == "complete"
    work.whole()


def test_a_deadline_drains_as_a_stop_does(work: Try) -> None:
    work.source.before = lambda number: work.cancel.wait(0.05) and None
    work.cancel = Cancel(0.5)
    with pytest.raises(DeadlineExceeded):
        migrate.run(work.run())
    assert json.loads(work.run().receipt.read_text())["outcome"] == "stopped"


def test_a_sink_that_hangs_is_let_go_after_the_time_for_draining(work: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsctl.jobs.migrate_flow.DRAIN", 0.3)
    whole = work.sink.write

    def hang(items: object, cancel: Cancel) -> object:
        work.cancel.cancel()
        assert cancel.wait(60), "nobody ended it"
        cancel.check()
        return whole(items, cancel)  # type: ignore[arg-type]

    monkeypatch.setattr(work.sink, "write", hang)
    with pytest.raises(Interrupted):
        migrate.run(work.run())
    assert not work.sink.stored


def test_a_paused_run_waits_and_goes_on(work: Try) -> None:
    m = work.run()
    m.folder.mkdir(parents=True)

    def seen(progress: object) -> None:
        work.told.append(progress)  # type: ignore[arg-type]
        if [each.state for each in work.told].count("paused") == 2:
            m.control.write_text("run\n")

    def pause(number: int) -> None:
        if number == 5:
            m.control.write_text("pause\n")

    work.source.before = pause
    assert migrate.run(work.run(report=seen)).outcome == "complete"
    states = [each.state for each in work.told]
    assert "paused" in states
    assert states[-1] == "ended"
    work.whole()


def test_a_paused_run_can_be_stopped(work: Try) -> None:
    m = work.run()
    m.folder.mkdir(parents=True)
    m.control.write_text("pause")
    with pytest.raises(Interrupted):
        migrate.run(work.run(report=lambda progress: work.cancel.cancel() if progress.state == "paused" else None))
    assert not work.sink.stored


def test_outside_its_window_a_run_waits(tmp_path: Path) -> None:
    states: list[str] = []
    minutes = iter([0, 0, 60, 60])
    limits = Limits(window=(60, 120))
    pace = Pace(limits, tmp_path / "control", states.append, minute=lambda: next(minutes))
    pace.ready(Cancel(20))
    assert states == ["waiting", "running"]


def test_a_low_rate_makes_small_batches_and_takes_its_time(tmp_path: Path) -> None:
    slow = Try(tmp_path, MemorySource(numbered(30)), limits=Limits(batch=256, rate=20))
    cancel = Cancel(1.0)
    with pytest.raises(DeadlineExceeded):
        migrate.run(slow.run(cancel=cancel, limits=Limits(batch=10, rate=10)))
    assert 0 < len(slow.sink.stored) < 30
    assert Pace(slow.limits, tmp_path / "control", print).batch == 20


def test_a_channel_never_holds_more_than_its_size_and_ends_with_its_producers() -> None:
    channel: Channel[int] = Channel(2, 1)
    cancel = Cancel()
    channel.put(1, cancel)
    channel.put(2, cancel)
    with pytest.raises(DeadlineExceeded):
        channel.put(3, Cancel(0.05))
    channel.done()
    assert channel.take(9, cancel) == [1, 2]
    assert channel.take(9, cancel) == []


def test_flight_lets_one_batch_of_any_size_in_and_no_second() -> None:
    flight = Flight(100)
    flight.load(1000, Cancel())
    with pytest.raises(DeadlineExceeded):
        flight.load(1, Cancel(0.05))
    flight.enter([b"a"])
    with pytest.raises(DeadlineExceeded):
        flight.until_free([b"a", b"b"], Cancel(0.05))
    flight.unload(1000)
    flight.leave([b"a"])
    flight.until_free([b"a"], Cancel())
    flight.load(1, Cancel())


def test_the_first_error_of_a_crew_is_the_one_that_is_raised() -> None:
    crew = Crew(Cancel())

    def waits() -> None:
        assert crew.work.wait(30)
        crew.work.check()

    crew.add("a", waits)
    crew.add("b", lambda: int("x") and None)
    with pytest.raises(ValueError, match="invalid literal"):
        crew.run(lambda: None)
