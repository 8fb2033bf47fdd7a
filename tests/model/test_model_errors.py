"""Exit codes and errors: the documented numbers, the documented order, what/why/next everywhere."""

from __future__ import annotations

import itertools

import pytest

from opsctl.model import errors
from opsctl.model.errors import ConfigError, ErrorInfo, ExitCode, Interrupted, OpsError, UsageError, worst
from opsctl.model.result import CommandResult, DropletResult

DOCUMENTED = [130, 143, 129, 70, 2, 3, 6, 4, 7, 5, 1, 0]
CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, OpsError)]


def test_the_order_is_the_documented_one_for_every_pair() -> None:
    for stronger, weaker in itertools.combinations(DOCUMENTED, 2):
        assert worst([ExitCode(weaker), ExitCode(stronger)]) == stronger
    assert worst(ExitCode) == 130
    assert worst([]) == 0


def test_every_code_has_a_place_in_the_order() -> None:
    assert sorted(DOCUMENTED) == sorted(ExitCode)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_carries_what_why_and_next(kind: type[OpsError]) -> None:
    error = kind("what happened", why="the last state", next="opsctl status")
    assert (error.info.what, error.info.why, error.info.next) == ("what happened", "the last state", "opsctl status")
    assert error.info.code
    assert str(error) == "what happened"
    assert error.exit_code in ExitCode
    assert error.exit_code is not ExitCode.DONE


def test_codes_tell_the_classes_apart() -> None:
    codes = [kind("x").info.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


def test_an_error_can_name_its_own_code_and_place() -> None:
    info = ConfigError("x", code="compose-invalid", path="/a.yml", line=3).info
    assert info == ErrorInfo("compose-invalid", "x", path="/a.yml", line=3)


def test_a_fleet_that_half_succeeds_is_partial_unless_something_weightier_holds() -> None:
    def code(*codes: ExitCode) -> int:
        return CommandResult(tuple(DropletResult("d", None, exit_code=each) for each in codes)).exit_code

    assert code() == 0
    assert code(ExitCode.DONE, ExitCode.DONE) == 0
    assert code(ExitCode.DONE, ExitCode.FAILED) == 5
    assert code(ExitCode.FAILED, ExitCode.FAILED) == 1
    assert code(ExitCode.DONE, ExitCode.UNREACHABLE) == 4
    assert code(ExitCode.GATE, ExitCode.UNREACHABLE) == 4
    assert code(ExitCode.DONE, Interrupted().exit_code, UsageError("x").exit_code) == 130
