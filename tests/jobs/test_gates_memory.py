"""The memory gate: arithmetic, and what would make room."""

from __future__ import annotations

import pytest
from tests.jobs.startup_facts import MB, container

from opsctl.jobs.gates_memory import Room, arithmetic, fits, refusal, rooms
from opsctl.jobs.startup_actions import Expected, MemoryGate
from opsctl.model.errors import ExitCode
from opsctl.model.stack import Redundant

GATE = MemoryGate((Expected("app", 180 * MB, "stack file"),), 200 * MB)


@pytest.mark.parametrize(("available", "good"), [(380 * MB, True), (380 * MB - 1, False), (0, False), (10**10, True)])
def test_need_and_reserve_must_fit(available: int, good: bool) -> None:
    assert fits(GATE, available) is good


def test_the_arithmetic_is_shown() -> None:
    assert arithmetic(GATE, 320 * MB) == "needs 180 MB + reserve 200 MB, has 320 MB: 60 MB short"
    assert arithmetic(GATE, 500 * MB) == "needs 180 MB + reserve 200 MB, has 500 MB"


def test_redundant_ones_first_then_what_frees_most_and_never_what_is_needed() -> None:
    running = [container(name) for name in ("app", "small", "big", "spare", "tiny")] + [container("off", "exited")]
    used = {"id-app": 900 * MB, "id-small": 20 * MB, "id-big": 300 * MB, "id-spare": 90 * MB, "id-tiny": 1}
    found = rooms(running, {"app"}, used, {}, {"spare": Redundant("the cloud has it")})
    assert [(room.service, room.frees) for room in found] == [("spare", 90 * MB), ("big", 300 * MB), ("small", 20 * MB)]


def test_what_is_declared_stands_in_for_what_cannot_be_measured() -> None:
    assert rooms([container("a")], (), {}, {"a": 50 * MB}, {}) == (Room("a", 50 * MB),)


def test_the_refusal_names_what_to_stop_and_what_that_frees() -> None:
    room = (Room("spare", 40 * MB, "the cloud has it"), Room("big", 90 * MB), Room("other", 80 * MB))
    info = refusal("phase 2", GATE, 320 * MB, room, "opsctl startup").info
    assert info.next == "opsctl stop spare big   # frees 130 MB (spare: the cloud has it)"
    assert info.why == "expected: app 180 MB (stack file)"
    assert refusal("phase 2", GATE, 0, (), "x").exit_code is ExitCode.GATE


def test_when_nothing_is_enough_it_says_so() -> None:
    assert "not enough" in refusal("p", GATE, 0, (Room("a", 10 * MB),), "opsctl startup").info.next
    assert refusal("p", GATE, 0, (), "opsctl startup").info.next.endswith(
        "opsctl startup --ignore-memory starts it all the same"
    )
