"""Reading a droplet's status: one connection, three short calls, and as much as can be had when something is broken."""

from __future__ import annotations

import time

from opsctl.jobs import containers as listing
from opsctl.jobs import gates_once
from opsctl.jobs.status import judge, starting
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container, MemInfo
from opsctl.model.errors import ConfigError, OpsError, UnreachableError
from opsctl.model.operate import Operator
from opsctl.model.ports import Script, Shell
from opsctl.model.result import DropletResult
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile_merge import merge
from opsctl.model.status import OtherContainer, Status

_PATIENCE = 1.5  # s for a service that Docker calls starting to show that it is up
_COMPOSE_ONLY = {"compose-v1", "no-compose", "compose-too-old"}
_MACHINE = "date +%s; cut -d' ' -f1 /proc/uptime; cat /proc/sys/kernel/random/boot_id; cat /proc/meminfo"


def read(engine: Operator, shell: Shell, stack: Stack, droplet: Droplet, *, cancel: Cancel) -> DropletResult[Status]:
    """The status of one droplet; with the containers alone and the error where compose or its file is broken."""
    try:
        facts = engine.facts(cancel=cancel)
    except ConfigError as error:
        return _without_compose(shell, stack, droplet, error, cancel)
    except UnreachableError as error:
        if error.info.code not in _COMPOSE_ONLY:
            raise
        return _without_compose(shell, stack, droplet, error, cancel)
    usage = _usage(engine, shell, facts.containers, cancel)
    now = float(shell.run(Script("date +%s"), cancel=cancel, timeout=30).text or time.time())
    problem: ConfigError | None = None
    try:
        stack = merge(stack, facts.compose, compose_file=next(iter(facts.compose_files), "docker-compose.yml"))
    except ConfigError as error:
        problem = error
    asked = gates_once.specs(facts, stack, patience=_PATIENCE, only=starting(facts))
    gates = gates_once.ask(engine, shell, asked, cancel=cancel)
    status = judge(facts, stack, droplet, usage, now, gates)
    if problem is not None:
        return DropletResult(droplet.name, status, problem.info, problem.exit_code)
    return DropletResult(droplet.name, status)


def _usage(engine: Operator, shell: Shell, containers: tuple[Container, ...], cancel: Cancel) -> dict[str, int]:
    up = [each for each in containers if each.pid]
    if not up:
        return {}
    return dict(engine.parse_usage(shell.run(engine.usage(up), cancel=cancel, timeout=30).text))


def _without_compose(
    shell: Shell, stack: Stack, droplet: Droplet, error: OpsError, cancel: Cancel
) -> DropletResult[Status]:
    """What runs, by the engine alone: every container is shown, none is judged."""
    found = listing.read(shell, stack, droplet, cancel=cancel)
    lines = shell.run(Script(_MACHINE), cancel=cancel, timeout=30).text.splitlines()
    status = Status(
        engine="",
        compose="",
        project=found.project,
        uptime=float(lines[1]) if len(lines) > 1 else 0.0,
        boot_id=lines[2] if len(lines) > 2 else "",
        memory=_meminfo(lines[3:]),
        reserve=droplet.reserve,
        phase=0,
        phases=(),
        services=(),
        others=tuple(_other(each) for each in sorted(found.found, key=lambda each: (each.project, each.name))),
        problems=(),  # the error is told beside it
        healthy=False,
    )
    return DropletResult(droplet.name, status, error.info, error.exit_code)


def _other(each: listing.Found) -> OtherContainer:
    reason = f"project {each.project}" if each.project else "outside compose"
    return OtherContainer(each.name, reason, each.status, each.image, None, None)


def _meminfo(lines: list[str]) -> MemInfo:
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    names = ("MemTotal", "MemAvailable", "MemFree", "SwapTotal", "SwapFree")
    return MemInfo(*(sizes.get(name, 0) for name in names))
