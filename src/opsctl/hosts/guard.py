"""A lease on a host: a lock that the agent holds for as long as its owner feeds it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from opsctl.hosts.agent import Agent
from opsctl.model.cancel import Cancel
from opsctl.model.errors import LeaseBroken, LeaseHeld, OpsError, StepFailed
from opsctl.model.ports import Completed, GuardSpec, Privilege, Script


class AgentGuard:
    """A held lease; see the port."""

    def __init__(self, agent: Agent, number: int, abandoned: Mapping[str, str] | None) -> None:
        self._agent = agent
        self._number = number
        self._abandoned = abandoned
        self._released = False

    @property
    def abandoned(self) -> Mapping[str, str] | None:
        """As Guard.abandoned."""
        return self._abandoned

    def run(self, script: Script, *, cancel: Cancel, timeout: float) -> Completed:
        """As Shell.run."""
        self._check()
        return self._agent.run(script, cancel=cancel, timeout=timeout, lease=self._number)

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None) -> Iterator[str]:
        """As Shell.stream."""
        self._check()
        return self._agent.stream(script, cancel=cancel, timeout=timeout, lease=self._number)

    def release(self) -> None:
        """As Guard.release; waits up to 5 s for what still runs to be killed."""
        if not self._released:
            self._released = True
            self._agent.give_back(self._number)

    def _check(self) -> None:
        if self._released:
            raise StepFailed("the lease was given back already", code="lease-released")


def take(agent: Agent, name: str, state_dir: str, spec: GuardSpec, cancel: Cancel) -> AgentGuard:
    """Lock the scope or say who has it."""
    number, answer = agent.lease(state_dir, spec.scope, {"run": spec.run_id, **spec.holder}, cancel, under=spec.under)
    verdict, _, rest = answer.partition(" ")
    if verdict != "ok":
        raise _refusal(verdict, rest, name, state_dir, spec.scope, agent.privilege(cancel))
    return AgentGuard(agent, number, _holder(rest))


def _holder(text: str) -> dict[str, str] | None:
    if not text.strip():
        return None
    try:
        found = json.loads(text)
    except ValueError:
        # Half written by an owner that died right then: it was somebody all the same.
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _refusal(verdict: str, rest: str, name: str, state_dir: str, scope: str, privilege: Privilege) -> OpsError:
    if verdict == "held":
        return _held(rest, name, scope)
    if verdict == "over":
        return LeaseBroken(
            f"the run on {name} that this command is a step of does not hold the lease `{scope}`",
            why="it is over, or it works on another droplet",
            next=f"opsctl lease show -d {name}",
        )
    if verdict == "noflock":
        return StepFailed(
            f"there is no flock on {name}",
            why="a lease is a lock held by a process on the host",
            next=f"apt install util-linux   # on {name}",
            code="no-flock",
        )
    return _unwritable(rest.strip(), name, state_dir, privilege)


def _unwritable(reason: str, name: str, state_dir: str, privilege: Privilege) -> OpsError:
    what = f"{state_dir} cannot be written on {name}"
    if reason == "No space left on device":
        return StepFailed(
            f"{what}: no space is left on its disk",
            why="lease, journal and audit live there; without them nothing is changed",
            next=f"df -h {state_dir}; df -i {state_dir}   # on {name}",
            code="state-folder",
        )
    if reason and reason != "Permission denied":
        return StepFailed(
            f"{what}: {reason.lower()}",
            why="lease, journal and audit live there; without them nothing is changed",
            next=f"findmnt -T {state_dir}; dmesg | tail   # on {name}",
            code="state-folder",
        )
    folders = " ".join([state_dir, f"{state_dir}/lease", f"{state_dir}/runs"])
    return StepFailed(
        what,
        why=f"lease, journal and audit live there, and {privilege.user} may not write to it",
        next=f"docker: {{sudo: always}}   # in the stack file, where {privilege.user} has sudo; or, on {name}:\n"
        f"sudo install -d -m 2775 -g docker {folders}",
        code="state-folder",
    )


def _held(rest: str, name: str, scope: str) -> LeaseHeld:
    boot, _, after = rest.partition(" ")
    now, _, text = after.partition(" ")
    holder = _holder(text) or {}
    who = " ".join(part for part in (holder.get("user", "somebody"), _from(holder)) if part)
    what = f"the lease `{scope}` of {name} is held by {who}"
    doing = f"`{holder['command']}`" if holder.get("command") else "an unknown command"
    run = f", run {holder['run']}" if holder.get("run") else ""
    error = LeaseHeld(
        what,
        why=f"{doing} has been running there {_since(holder, boot, now)}{run}",
        next=f"opsctl lease show -d {name}   (or wait for it: --wait 5m)",
    )
    error.scope = scope
    return error


def _from(holder: Mapping[str, str]) -> str:
    return f"from {holder['from']}" if holder.get("from") else ""


def _since(holder: Mapping[str, str], boot: str, now: str) -> str:
    # The host's own uptime: the clock of the laptop that took it may be anything.
    try:
        seconds = int(float(now) - float(holder["uptime"]))
    except (KeyError, ValueError):
        return "for an unknown time"
    if holder.get("boot_id") != boot or seconds < 0:
        return "since before the host's last start"
    minutes, seconds = divmod(seconds, 60)
    return f"for {minutes} min {seconds} s" if minutes else f"for {seconds} s"
