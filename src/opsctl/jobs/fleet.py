"""One job over several droplets, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from opsctl.model.errors import Interrupted, OpsError
from opsctl.model.result import CommandResult, DropletResult
from opsctl.model.stack import Droplet

T = TypeVar("T")

MAX_PARALLEL = 8  # beyond that one laptop's SSH handshakes wait for each other


def run_fleet(droplets: Sequence[Droplet], job: Callable[[Droplet], DropletResult[T]]) -> CommandResult[T]:
    """Run `job` for each droplet; an OpsError of one does not stop the others. The order is kept."""

    def one(droplet: Droplet) -> DropletResult[T]:
        try:
            return job(droplet)
        except OpsError as error:
            return DropletResult(droplet.name, None, error.info, error.exit_code)

    if len(droplets) == 1:
        return CommandResult((one(droplets[0]),))
    with ThreadPoolExecutor(max_workers=min(MAX_PARALLEL, max(1, len(droplets)))) as pool:
        return CommandResult(tuple(pool.map(one, droplets)))


def succeeded(droplet: Droplet, result: T) -> DropletResult[T]:
    """The entry of a droplet where all went well."""
    return DropletResult(droplet.name, result)


def interrupted(results: CommandResult[T]) -> bool:
    """Whether any droplet's part was cut short by a signal."""
    return any(each.error is not None and each.error.code == Interrupted.code for each in results.droplets)
