"""Can opsctl work here? As many checks as can be made, whatever is broken."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from opsctl import __version__
from opsctl.jobs import doctor_docker, doctor_host, doctor_stack
from opsctl.jobs.doctor_checks import Area
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, ExitCode, Interrupted, OpsError
from opsctl.model.examination import Check, Examination, Verdict
from opsctl.model.operate import Operator
from opsctl.model.ports import Host, Shell
from opsctl.model.result import DropletResult
from opsctl.model.stack import Droplet, Stack

_HERE = "this machine"


def laptop(stack: Stack | None, problem: ConfigError | None) -> tuple[Check, ...]:
    """What this machine brings: Python, OpenSSH, a valid stack file."""
    area = Area(_HERE)
    area.ok("opsctl", f"{__version__} on Python {platform.python_version()}")
    _ssh(area)
    if problem is not None:
        area.error("stack file", problem)
    elif stack is not None and stack.path:
        area.ok("stack file", f"{stack.path}: {_count(stack.droplets, 'droplet')}, {_count(stack.services, 'service')}")
    elif stack is not None:
        area.ok("stack file", "none; what is read comes from the droplet   (opsctl init writes one)")
    return tuple(area.checks)


def _count(things: Sized, word: str) -> str:
    return f"{len(things)} {word}" if len(things) == 1 else f"{len(things)} {word}s"


def _ssh(area: Area) -> None:
    if shutil.which("ssh") is None:
        area.warning(
            "ssh",
            "OpenSSH is not here: `Match` and `Include` of ~/.ssh/config may be misread",
            "install openssh-client",
        )
        return
    done = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False, timeout=10)
    area.ok("ssh", f"{(done.stderr or done.stdout).split(',')[0].strip()} resolves addresses, keys and jump hosts")


def examine(
    host: Host,
    reads: Shell,
    engine: Operator,
    stack: Stack,
    droplet: Droplet,
    *,
    here: tuple[Check, ...],
    cancel: Cancel,
) -> DropletResult[Examination]:
    """All checks of one droplet; what cannot be reached is failed, what lies behind it unknown."""
    checks = [*here]
    try:
        privilege = host.privilege(cancel=cancel)
        checks += doctor_host.connection(host, reads, privilege, cancel=cancel)
    except Interrupted:
        raise
    except OpsError as error:
        area = Area("connection")
        said = replace(error.info, next=error.info.next or f"ssh {droplet.address}   (does that work?)")
        area.error("login", said, ExitCode.UNREACHABLE)
        for name in ("host", "Docker", "stack"):
            area.checks.append(Check(name, name, Verdict.UNKNOWN, "not looked at: the droplet cannot be reached"))
        return _result(droplet, [*checks, *area.checks])
    looks = {
        "host": lambda: doctor_host.look(reads, droplet, cancel=cancel),
        "Docker": lambda: doctor_docker.look(reads, stack, droplet, cancel=cancel),
        "stack": lambda: doctor_stack.look(engine, reads, stack, droplet, cancel=cancel),
    }
    with ThreadPoolExecutor(max_workers=len(looks)) as pool:
        found = dict(zip(looks, pool.map(lambda name: _guarded(name, looks[name]), looks), strict=True))
    broken = [each.name for each in found["Docker"] if each.verdict is Verdict.FAILED]
    if broken:  # whatever the stack said, it said for that reason
        found["stack"] = (Check("stack", "stack", Verdict.UNKNOWN, f"not looked at without: {', '.join(broken)}"),)
    return _result(droplet, [*checks, *found["host"], *found["Docker"], *found["stack"]])


def _guarded(name: str, look: Callable[[], tuple[Check, ...]]) -> tuple[Check, ...]:
    """One area's checks; an error in it does not end the examination."""
    try:
        return look()
    except Interrupted:
        raise
    except OpsError as error:
        area = Area(name)
        area.error(name, error)
        return tuple(area.checks)


def _result(droplet: Droplet, checks: list[Check]) -> DropletResult[Examination]:
    found = Examination(tuple(checks))
    return DropletResult(droplet.name, found, None, found.exit_code)
