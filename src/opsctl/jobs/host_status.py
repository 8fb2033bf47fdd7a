"""What there is of opsctl on a droplet, and whether it goes with this one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from opsctl import __version__
from opsctl.jobs.call import STATE_DIR
from opsctl.jobs.host_facts import APP, CONFIG, FOLDER, HostFacts, look
from opsctl.jobs.host_install import differing
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode
from opsctl.model.host import HostFile, HostStatus, HostUnit
from opsctl.model.ports import Shell
from opsctl.model.result import DropletResult
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile_droplet import SECRETS, for_droplet
from opsctl.model.units import show_duration
from opsctl.spine import hold


def status(
    shell: Shell, stack: Stack, droplet: Droplet, *, cancel: Cancel, environ: Mapping[str, str] | None = None
) -> DropletResult[HostStatus]:
    """Read it, without a lease; changes nothing. The exit code is 1 where it does not work or is out of date.

    Raises ConfigError where the stack file cannot be read for the droplet.
    """
    found = look(shell, cancel=cancel)
    held = hold.parse(shell.run(hold.read(STATE_DIR), cancel=cancel, timeout=15).text)
    old = _out_of_date(found, stack, droplet, os.environ if environ is None else environ)
    result = judge(found, droplet, held, old)
    broken = result.installed and result.problems and (not result.there or skew(result.there, __version__) > 1)
    return DropletResult(droplet.name, result, exit_code=ExitCode.FAILED if broken or old else ExitCode.DONE)


def _out_of_date(found: HostFacts, stack: Stack, droplet: Droplet, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The files that `host upgrade` would write anew; none where this is the droplet's own stack file, or none at all.

    What may not be read there is not compared.
    """
    if not found.installed or not stack.path or stack.path == CONFIG:
        return ()
    unread = {path for path, placed in found.files.items() if path == f"{FOLDER}/{SECRETS}" and not placed.digest}
    return tuple(path for path in differing(found, for_droplet(stack, droplet, environ)) if path not in unread)


def judge(found: HostFacts, droplet: Droplet, held: hold.Hold | None, old: Sequence[str] = ()) -> HostStatus:
    """What was found, judged; `old` are the files that are out of date. Pure."""
    there = found.answers.removeprefix("opsctl ").strip() if found.answers.startswith("opsctl ") else ""
    problems, mend = _problems(found, droplet, there, old)
    return HostStatus(
        installed=found.installed,
        there=there,
        here=__version__,
        app=found.current.rpartition("/")[2],
        python=found.targets[0].words if found.targets else ", ".join(found.pythons),
        files=tuple(HostFile(each.path, each.size, each.mode) for each in found.files.values()),
        units=tuple(HostUnit(each.name, each.enabled, each.active) for each in found.units),
        size=found.carried[1],
        count=found.carried[0],
        disk=found.size,
        boot="replay" if found.boot.replay else "docker",
        up=found.boot.up,
        policies=found.boot.policies,
        hold=f"{held.reason} ({held.run_id}), {show_duration(held.left)} left" if held else "",
        problems=tuple(problems),
        next=mend,
    )


def _problems(found: HostFacts, droplet: Droplet, there: str, old: Sequence[str]) -> tuple[list[str], str]:
    problems: list[str] = []
    if not found.targets:
        problems.append(f"no Python 3.11 or later: {', '.join(found.pythons) or 'none at all'}")
    if not found.installed:
        return problems, "" if problems else f"opsctl host install -d {droplet.name}"
    if not there:
        problems.append(f"what is in {APP} does not answer: {found.answers or 'there is nothing to run'}")
    elif (apart := skew(there, __version__)) > 0:
        older = _numbers(there) < _numbers(__version__)
        word = f"{'older' if older else 'newer'} than this one ({__version__})"
        problems.append(
            f"opsctl {there} there is {word}: one minor version apart works, more does not"
            if apart > 1
            else f"opsctl {there} there is {word}, which still works together"
        )
        if not older:
            return problems, "install the newer opsctl here too"
    if old:
        problems.append(f"the stack file here differs from what is there: {', '.join(old)}")
    if found.boot.replay and not found.boot.up:
        problems.append("nothing is to be brought up after a boot: opsctl startup remembers what it starts")
    if droplet.boot == "replay" and not found.boot.replay:
        problems.append("boot: replay is asked for, and Docker starts everything at once")
    mend = f"opsctl host upgrade -d {droplet.name}" if problems else ""
    return problems, mend


def skew(one: str, other: str) -> int:
    """How many minor versions apart; another major version is 99 apart. Patches do not count."""
    (major, minor), (major_there, minor_there) = _numbers(one), _numbers(other)
    return abs(minor - minor_there) if major == major_there else 99


def _numbers(version: str) -> tuple[int, int]:
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]] + [0, 0]
    return numbers[0], numbers[1]
