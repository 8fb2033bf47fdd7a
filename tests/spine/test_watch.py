"""Work beside a lease ends when the lease is broken, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.hosts import connect
from opsctl.model.cancel import Cancel
from opsctl.model.errors import Interrupted, LeaseBroken
from opsctl.model.ports import GuardSpec
from opsctl.model.stack import Droplet
from opsctl.spine import breaking
from opsctl.spine.watch import watched

SCOPE = "data:redis-db"


def test_a_broken_lease_ends_the_work_and_is_what_is_told(tmp_path: Path) -> None:
    cancel, work = Cancel(60), Cancel(60)
    host, other = (connect(Droplet("here", "local"), confirm_host_key=None, state_dir=str(tmp_path)) for _ in range(2))
    try:
        guard = host.guard(GuardSpec(SCOPE, "r1", {"user": "ann"}), cancel=cancel)
        with pytest.raises(LeaseBroken) as caught, watched(guard, work, every=0.05):
            script = breaking.script(
                str(tmp_path), SCOPE, run="r1", user="bob", origin="x", reason="mine now", lines=("{}",)
            )
            assert other.run(script, cancel=cancel, timeout=30).code == 0
            work.wait(30)
            assert work.cancelled
            raise Interrupted(next="opsctl migrate resume r1")
        assert caught.value.exit_code == 6
        assert caught.value.info.next == "opsctl migrate resume r1"
    finally:
        host.close()
        other.close()


def test_a_stop_stays_a_stop_while_the_lease_holds(tmp_path: Path) -> None:
    host = connect(Droplet("here", "local"), confirm_host_key=None, state_dir=str(tmp_path))
    work = Cancel(60)
    try:
        guard = host.guard(GuardSpec(SCOPE, "r1", {"user": "ann"}), cancel=Cancel(60))
        with pytest.raises(Interrupted), watched(guard, work, every=0.05):
            work.wait(0.3)
            raise Interrupted
        assert not work.cancelled
        guard.release()
    finally:
        host.close()
