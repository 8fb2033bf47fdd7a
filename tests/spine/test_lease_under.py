"""A step of a run works under the run's lease, and ends with it: through the real local host."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from tests.hosts.support import eventually

from opsctl.hosts.agent import Settings
from opsctl.hosts.local import LocalHost
from opsctl.model.cancel import Cancel
from opsctl.model.errors import LeaseBroken, LeaseHeld
from opsctl.model.ports import GuardSpec, Script

HOLDER = {"user": "ann", "from": "laptop", "command": "opsctl startup"}
Make = Callable[[], LocalHost]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Owners, each with an agent of its own; they feed it often, so that it looks often."""
    made: list[LocalHost] = []

    def one() -> LocalHost:
        made.append(LocalHost(Settings("box", heartbeat=0.2), state_dir=str(tmp_path)))
        return made[-1]

    yield one
    for each in made:
        each.close()


def spec(run: str, under: str = "") -> GuardSpec:
    return GuardSpec("stack", run, HOLDER, under)


def holder_pid(folder: Path) -> int:
    """The agent that has the lease."""
    return int((folder / "lease" / "stack.json").read_text().rpartition('"pid":"')[2].partition('"')[0])


def test_two_steps_work_beside_the_run_and_a_stranger_does_not(make: Make) -> None:
    cancel = Cancel(30)
    parent = make().guard(spec("r1"), cancel=cancel)
    steps = [make().guard(spec(name, "r1"), cancel=cancel) for name in ("r2", "r3")]
    assert [each.run(Script("echo hi"), cancel=cancel, timeout=10).text for each in steps] == ["hi\n", "hi\n"]
    with pytest.raises(LeaseHeld):
        make().guard(spec("r4"), cancel=cancel)
    with pytest.raises(LeaseBroken, match="does not hold"):
        make().guard(spec("r5", "r0"), cancel=cancel)
    for each in (*steps, parent):
        each.release()
    assert make().guard(spec("r6"), cancel=cancel).abandoned is None
    with pytest.raises(LeaseBroken):
        make().guard(spec("r7", "r1"), cancel=cancel)


def test_nobody_gets_the_lease_while_a_step_of_a_dead_run_still_works(make: Make, tmp_path: Path) -> None:
    cancel = Cancel(30)
    make().guard(spec("r1"), cancel=cancel)
    # This one is not fed, and so never looks: only its lock protects what it does.
    slow = LocalHost(Settings("box", heartbeat=60), state_dir=str(tmp_path))
    try:
        step = slow.guard(spec("r2", "r1"), cancel=cancel)
        os.kill(holder_pid(tmp_path), signal.SIGKILL)
        other = make()
        for _ in range(3):
            with pytest.raises(LeaseHeld):
                other.guard(spec("r3"), cancel=cancel)
        with pytest.raises(LeaseBroken, match="over"):
            step.run(Script(f"touch {tmp_path}/late"), cancel=cancel, timeout=10)
        assert not (tmp_path / "late").exists()
    finally:
        slow.close()
    assert make().guard(spec("r4"), cancel=cancel).abandoned is not None


def test_what_a_step_runs_is_ended_with_the_run(make: Make, tmp_path: Path) -> None:
    cancel, caught = Cancel(30), list[BaseException]()
    make().guard(spec("r1"), cancel=cancel)
    step = make().guard(spec("r2", "r1"), cancel=cancel)
    script = Script(f"touch {tmp_path}/begun; sleep 20; touch {tmp_path}/late")

    def work() -> None:
        try:
            step.run(script, cancel=cancel, timeout=30)
        except BaseException as error:  # noqa: BLE001 - looked at below
            caught.append(error)

    thread = Thread(target=work)
    thread.start()
    assert eventually((tmp_path / "begun").exists)
    os.kill(holder_pid(tmp_path), signal.SIGKILL)
    thread.join(10)
    assert [type(each) for each in caught] == [LeaseBroken]
    other = make()
    assert eventually(lambda: free(other))
    time.sleep(0.2)
    assert not (tmp_path / "late").exists()


def free(host: LocalHost) -> bool:
    """Whether the lease can be had."""
    try:
        host.guard(spec("r9"), cancel=Cancel(10)).release()
    except LeaseHeld:
        return False
    return True
