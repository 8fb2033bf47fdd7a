"""A plan is data: the same steps have the same id, any other have another, and JSON keeps all of it."""

from __future__ import annotations

import json
import random
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import ClassVar

import pytest

from opsctl.model.plan import Action, GuardFact, Plan, Step


@dataclass(frozen=True)
class Start(Action):
    kind: ClassVar[str] = "start"
    container: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stop(Action):
    kind: ClassVar[str] = "stop"
    container: str
    arguments: tuple[str, ...] = ()


STEP = Step(
    "1", "start postgres", Start("3f2a", ("a b", "'\"\n$(x)", "é")), "postgres", 1, (), (GuardFact("id", "pg", "3f"),)
)
PLAN = Plan("startup", (STEP, Step("2", "start web", Start("77"), needs=("1",), undo=Stop("77"))))


def test_the_id_is_stable_and_short() -> None:
    assert PLAN.id == Plan("startup", tuple(PLAN.steps)).id
    assert len(PLAN.id) == 12


@pytest.mark.parametrize(
    "other",
    [
        replace(STEP, action=Start("3f2b", STEP.action.arguments)),  # type: ignore[attr-defined]
        replace(STEP, action=Stop("3f2a", STEP.action.arguments)),  # type: ignore[attr-defined]
        replace(STEP, guards=(GuardFact("id", "pg", "40"),)),
        replace(STEP, guards=()),
        replace(STEP, needs=("0",)),
        replace(STEP, undo=Stop("3f2a")),
        replace(STEP, destructive=True),
        replace(STEP, phase=2),
    ],
)
def test_any_difference_that_matters_changes_the_id(other: Step) -> None:
    assert Plan("startup", (other, *PLAN.steps[1:])).id != PLAN.id


def test_order_matters() -> None:
    assert Plan("startup", PLAN.steps[::-1]).id != PLAN.id


def test_json_keeps_everything_and_the_kind() -> None:
    document = json.loads(json.dumps(PLAN.to_json()))
    assert document["schema"] == "opsctl.plan/1"
    assert document["id"] == PLAN.id
    assert document["steps"][0]["action"] == {
        "kind": "start",
        "container": "3f2a",
        "arguments": ["a b", "'\"\n$(x)", "é"],
    }
    assert document["steps"][0]["guards"] == [{"fact": "id", "subject": "pg", "value": "3f"}]
    assert document["steps"][1]["undo"]["kind"] == "stop"
    assert document["steps"][1]["needs"] == ["1"]


@pytest.mark.parametrize("seed", range(20))
def test_no_two_argument_lists_share_an_id(seed: int) -> None:
    dice = random.Random(seed)
    seen: dict[str, tuple[str, ...]] = {}
    for _ in range(100):
        words = tuple("".join(dice.choices('ab", []\\', k=dice.randint(0, 3))) for _ in range(dice.randint(0, 3)))
        plan = Plan("x", (Step("1", "t", Start("c", words)),))
        assert seen.setdefault(plan.id, words) == words


def test_nothing_in_it_can_be_changed_after_it_was_shown() -> None:
    with pytest.raises(FrozenInstanceError):
        STEP.title = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        PLAN.steps = ()  # type: ignore[misc]
