"""The releases that a droplet keeps."""

from __future__ import annotations

from typing import cast

from opsctl.jobs.call import Call
from opsctl.model.deploy import Deployer, Release, Releases
from opsctl.model.errors import StepFailed
from opsctl.model.result import DropletResult


def releases(call: Call) -> DropletResult[Releases]:
    """List them, the newest first; changes nothing."""
    return DropletResult(call.droplet.name, Releases(read_releases(call)))


def read_releases(call: Call) -> tuple[Release, ...]:
    """Read them. Raises StepFailed when they cannot be read."""
    engine = cast(Deployer, call.engine)
    answer = call.host.run(engine.list_releases(), cancel=call.cancel, timeout=30.0)
    if answer.code != 0:
        raise StepFailed(
            "the releases cannot be read",
            why=answer.error_text or f"exit status {answer.code}",
            next=f"on the droplet: ls -ld {call.state_dir}/releases",
        )
    return engine.parse_releases(answer.text)
