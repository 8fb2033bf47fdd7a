"""A droplet that breaks again soon after a recovery: the boot of before is over, and is not waited for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from opsctl.jobs import recover_cloud
from opsctl.jobs.recover_link import Story
from opsctl.spine import local_audit
from opsctl.spine.audit import Actor, Entry


@dataclass(frozen=True)
class Named:
    """As much of a story as the question needs: whose lines of the audit are meant."""

    name: str

    @property
    def means(self) -> Named:
        return self

    @property
    def droplet(self) -> Named:
        return self


def entry(run: str, plan: str) -> Entry:
    return Entry(run, "opsctl recover", plan, Actor("ann", "laptop"), "2026-01-01T00:00:00Z", "1", name="recover")


def asked() -> float:
    return recover_cloud.asked_before(cast("Story", cast("Any", Named("agents"))), 300.0)


def test_only_a_boot_that_nobody_saw_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert asked() == 0
    local_audit.begin(entry("r1", "recover"), "agents")
    local_audit.begin(entry("r1.1", "cloud-reboot"), "agents")
    local_audit.end("r1.1", "agents", outcome="done", exit_code=0, seconds=2)
    assert asked() > 60, "the one that asked was killed: the boot may be under way"
    local_audit.end("r1", "agents", outcome="interrupted", exit_code=130, seconds=3)
    assert asked() > 60, "it was interrupted while it waited"
    local_audit.begin(entry("r2", "recover"), "agents")
    local_audit.begin(entry("r2.1", "power-cycle"), "agents")
    local_audit.end("r2.1", "agents", outcome="done", exit_code=0, seconds=2)
    local_audit.end("r2", "agents", outcome="done", exit_code=0, seconds=20, detail="recovered")
    assert asked() == 0, "the recovery saw the new boot and came to its end"
    local_audit.begin(entry("r3.1", "power-cycle"), "another")
    assert asked() == 0
