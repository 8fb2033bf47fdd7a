"""Which engines are changed, and which are only reported on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.jobs.startup_facts import ENGINE

from opsctl.jobs.startup import check_engine
from opsctl.model.engine import EngineInfo
from opsctl.model.errors import ExitCode, UnreachableError


def test_a_system_engine_is_changed() -> None:
    check_engine(ENGINE, "agents")


@pytest.mark.parametrize(
    ("engine", "word"), [(replace(ENGINE, rootless=True), "rootless"), (replace(ENGINE, snap=True), "snap")]
)
def test_what_is_not_supported_is_refused_with_the_reason(engine: EngineInfo, word: str) -> None:
    with pytest.raises(UnreachableError) as refused:
        check_engine(engine, "agents")
    assert refused.value.exit_code is ExitCode.UNREACHABLE
    assert word in refused.value.info.what
    assert refused.value.info.why
    assert "opsctl doctor" in refused.value.info.next
