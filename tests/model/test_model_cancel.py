"""One token for deadline and Ctrl-C."""

from __future__ import annotations

import threading

import pytest

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, ExitCode, Interrupted


def test_a_fresh_token_lets_everything_pass() -> None:
    cancel = Cancel()
    cancel.check("anything")
    assert (cancel.done, cancel.remaining, cancel.wait(0)) == (False, None, False)


def test_cancelling_a_parent_reaches_every_child_and_no_child_reaches_up() -> None:
    parent = Cancel()
    child, other = parent.child(), parent.child(60)
    grandchild = child.child()
    child.cancel()
    assert (grandchild.cancelled, other.cancelled, parent.cancelled) == (True, False, False)
    parent.cancel(15)
    assert other.cancelled
    assert other.signum == grandchild.child().signum == 15 or grandchild.signum == 2


def test_a_child_never_outlives_its_parents_deadline() -> None:
    parent = Cancel(5)
    assert parent.child(60).remaining == pytest.approx(5, abs=1)
    assert parent.child(1).remaining == pytest.approx(1, abs=0.5)
    assert Cancel().child(3).remaining == pytest.approx(3, abs=0.5)
    assert parent.child().remaining == pytest.approx(5, abs=1)


def test_an_expired_token_says_what_was_waited_for() -> None:
    cancel = Cancel(0)
    assert cancel.expired
    assert not cancel.cancelled
    assert cancel.wait(60)
    with pytest.raises(DeadlineExceeded, match="postgres to answer"):
        cancel.check("postgres to answer")


@pytest.mark.parametrize(
    ("signum", "code"), [(2, ExitCode.INTERRUPTED), (15, ExitCode.TERMINATED), (1, ExitCode.HANGUP)]
)
def test_a_signal_becomes_its_exit_code(signum: int, code: ExitCode) -> None:
    cancel = Cancel()
    cancel.cancel(signum)
    with pytest.raises(Interrupted) as caught:
        cancel.child(30).child().check()
    assert caught.value.exit_code is code


def test_an_interrupt_wins_over_a_deadline() -> None:
    cancel = Cancel(0)
    cancel.cancel()
    with pytest.raises(Interrupted):
        cancel.check()


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_wait_in_another_thread_ends_when_it_is_cancelled(depth: int) -> None:
    cancel = waiting = Cancel()
    for _ in range(depth):
        waiting = waiting.child()
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(waiting.wait(600)))
    thread.start()
    cancel.cancel()
    thread.join(30)
    assert ended == [True]
