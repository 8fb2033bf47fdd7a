"""What `deploy`, `rollback`, `releases` and `env` have in common: the call, its progress, its way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from opsctl.cli.changing import call_of, patiently, told
from opsctl.cli.context import Context, Session
from opsctl.cli.output import finish
from opsctl.model.errors import ExitCode
from opsctl.model.result import DropletResult

if TYPE_CHECKING:
    from opsctl.jobs.call import Call
    from opsctl.model.deploy import Deployed

T = TypeVar("T")


def go(
    context: Context,
    name: str,
    job: Callable[[Call], DropletResult[Deployed]],
    *,
    as_json: bool,
    dry_run: bool,
) -> ExitCode:
    """Run a deploying job on every droplet of this call, show it, and say what to exit with."""
    from opsctl.render.deploy import print_deployed

    many = len(context.droplets(reading=dry_run)) > 1

    def render(each: DropletResult[Deployed]) -> None:
        if each.result is not None:
            print_deployed(each.name, each.result, redact=context.redact, many=many)

    return run(context, name, job, render, as_json=as_json, dry_run=dry_run, reading=dry_run)


def run(
    context: Context,
    name: str,
    job: Callable[[Call], DropletResult[T]],
    render: Callable[[DropletResult[T]], None],
    *,
    as_json: bool,
    dry_run: bool = False,
    reading: bool = False,
) -> ExitCode:
    """Run a job that needs a Deployer on every droplet of this call."""
    from opsctl.render.progress import progress

    many = len(context.droplets(reading=reading)) > 1
    _ = context.wait  # what it cannot read is said before anything is connected
    with progress(as_json=as_json or dry_run or reading, many=many, redact=context.redact) as reporter:

        def one(session: Session) -> DropletResult[T]:
            own = replace(session, engine=session.deployer)

            def attempt() -> DropletResult[T]:
                # A deploy's own survey reads all that the facts would.
                call = call_of(context, own, reporter, dry_run=dry_run, ahead=False)
                return told(job(call), call, as_json=as_json)

            return attempt() if reading else patiently(context, own, reporter, attempt)

        result = context.over(one, reading=reading)
    return finish(name, result, as_json=as_json, render=render, run_id=context.run_id, redact=context.redact)
