"""`recover` beside the sum of what cannot be avoided: the provider's reboot until SSH answers, and a raw start."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import startup
from droplet import Droplet
from plan import read_plan
from ruamel.yaml import YAML
from series import Contestant, Progress, Section, Target, in_turn
from shelling import DidNotRun, run, timed

_LIVED = 12.0  # s
_BOUND = 180.0  # s for a boot
PHASE = 2  # what `recover` has to bring back: phases 1 and 2


@dataclass(frozen=True)
class Provider:
    """The account's API as the stack file names it."""

    api: str
    token: str
    number: int

    @classmethod
    def of(cls, droplet: Droplet) -> Provider:
        """The provider of the bench's droplet."""
        entry = YAML(typ="safe").load(droplet.stack_file.read_text())["droplets"][droplet.name]["provider"]
        return cls(entry["api"], Path(entry["token_file"]).read_text().strip(), int(entry["digitalocean"]))

    def reboot(self) -> None:
        """Ask for a reboot and follow the action to its end, as often as a careful script would."""
        action = self._ask(f"/v2/droplets/{self.number}/actions", {"type": "reboot"})["action"]
        end = time.monotonic() + _BOUND
        while action["status"] == "in-progress":
            if time.monotonic() > end:
                raise DidNotRun("the provider's reboot did not end")
            time.sleep(0.1)
            action = self._ask(f"/v2/actions/{action['id']}")["action"]
        if action["status"] != "completed":
            raise DidNotRun(f"the provider's reboot ended as {action['status']}")

    def _ask(self, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.api + path, data, headers), timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


def _alone(droplet: Droplet, script: str) -> str:
    """Run a script over a connection of its own: the bench's shared one ends with the boot."""
    argv = ["ssh", "-F", str(droplet.ssh_config), "-o", "ConnectTimeout=4", "droplet", "bash", "-s"]
    return run(argv, stdin=script, timeout=120)


def _boot_id(droplet: Droplet) -> str:
    try:
        return _alone(droplet, "docker version >/dev/null 2>&1 && cat /proc/sys/kernel/random/boot_id").strip()
    except DidNotRun:
        return ""


def _await_boot(droplet: Droplet, before: str) -> None:
    end = time.monotonic() + _BOUND
    while _boot_id(droplet) in ("", before):
        if time.monotonic() > end:
            raise DidNotRun("the droplet did not come back")
        time.sleep(0.1)


def without_ssh(droplet: Droplet, rounds: int, progress: Progress) -> Section:
    """Nobody can log in any more, and only a reboot through the provider brings the droplet and its stack back."""
    progress("creating the containers, and a first start that nobody measures")
    droplet.create()
    everything = droplet.plan
    plan = read_plan(droplet.stack_file, droplet.name, phase=PHASE)
    droplet.plan = replace(plan, containers=everything.containers)
    (droplet.folder / "plan.tsv").write_text(droplet.plan.lines())
    startup.shell("floor.sh", droplet)
    provider = Provider.of(droplet)
    stack = ["--stack", str(droplet.stack_file), "-d", droplet.name]

    def broken() -> str:
        before = _boot_id(droplet)
        # The sandbox's own engine starts a container that lived for less than 10 s again after 0.1 s, 0.2 s, 0.4 s, …
        time.sleep(max(0.0, _LIVED - float(_alone(droplet, "ps -o etimes= -p 1"))))
        # What starts by itself after a boot would do the work for everybody.
        _alone(droplet, "docker update --restart=no $(docker ps -aq) >/dev/null")
        run([startup.OPSCTL, "sandbox", "break", "ssh-down", "--name", droplet.name])
        return before

    def right() -> None:
        running = set(_alone(droplet, "docker ps --format '{{.Names}}'").split())
        wanted = {droplet.plan.containers[each.name] for each in droplet.plan.services}
        if not wanted <= running:
            raise DidNotRun(f"should run: {sorted(wanted)}; runs: {sorted(running)}")

    def floor() -> float:
        before = broken()
        began = time.perf_counter()
        provider.reboot()
        _await_boot(droplet, before)
        startup.shell("floor.sh", droplet)
        took = time.perf_counter() - began
        right()
        return took

    def opsctl() -> float:
        broken()
        # --gentle 0s: the floor does not wait either whether the droplet comes back by itself.
        took = timed([startup.OPSCTL, "recover", "--up-to", "reboot", "--yes", "--gentle", "0s", *stack])
        right()
        return took

    series = in_turn([Contestant("floor", floor), Contestant("opsctl", opsctl)], rounds, progress)
    droplet.plan = everything
    return Section(
        "recover",
        "recover: SSH is down, reboot through the provider, phases 1 and 2 up and proved",
        "s",
        series,
        (Target("opsctl", 1.20, "floor", words="at most 1.2 × its unavoidable parts"),),
        ("floor: the provider's API, SSH until the new boot's engine answers, then the fair floor of a phased start",),
        series.failed,
    )
