"""The rungs that go through the provider, for a droplet that does not answer: reboot, power-cycle, switch on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from opsctl.jobs.recover_link import Story, step_entry
from opsctl.jobs.why_times import seconds_of
from opsctl.model.cloud import CloudAction, CloudDroplet, Tell
from opsctl.model.errors import ConfigError, ExitCode, OpsError
from opsctl.model.events import Outcome
from opsctl.model.recovery import Climb
from opsctl.spine import local_audit

_BOOT = 120.0  # s; later nobody waits any more for a boot that a run before asked for
_TITLES = {
    "cloud-reboot": "reboot through the provider",
    "power-cycle": "power-cycle through the provider",
    "power-on": "switch it on through the provider",
}


def number(story: Story) -> int | str:
    """Which droplet it is at the provider. Raises ConfigError where the stack file does not say."""
    found = story.means.droplet.provider.get("digitalocean")
    if found is None:
        raise ConfigError(
            f"{story.means.droplet.name} has no provider in the stack file, so its power cannot be reached",
            why="`provider: {digitalocean: ID}` is missing",
            next="add it, or use the provider's own page: power-cycle, or the console",
            path=story.means.stack.path,
            code="no-provider",
        )
    return found


def look(story: Story) -> CloudDroplet:
    """The droplet as the provider knows it. Raises OpsError."""
    return story.means.cloud().droplet(number(story), cancel=story.means.cancel)


def asked_before(story: Story, within: float) -> float:
    """Seconds that the last power-cycle or reboot asked for from here still has.

    0 where that is long ago, and where the recovery that asked for it saw the boot and came to its end.
    """
    now, over = time.time(), set[str]()
    for line in reversed(local_audit.lines(story.means.droplet.name)):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if found.get("event") == "end" and found.get("outcome") == "done":
            over.add(str(found.get("run")))
        if found.get("event") == "begin" and found.get("plan") in _TITLES:
            if str(found.get("run")).rpartition(".")[0] in over:
                return 0.0
            at = seconds_of(str(found.get("at", "")))
            bound = min(within, _BOOT)
            return 0.0 if at is None else max(0.0, min(bound, at + bound - now))
    return 0.0


def act(story: Story, kind: str, seen: CloudDroplet, within: float | None = None) -> Climb:
    """Do one of them and follow it to its end; written down here, because the droplet cannot. Seconds."""
    telling = story.told(kind, _TITLES[kind])
    name, began = story.means.droplet.name, time.monotonic()
    entry = replace(step_entry(story.means.entry, story.runs, telling.title), plan_id=kind)
    run = entry.run_id

    def written(outcome: str, code: ExitCode, detail: str = "") -> None:
        seconds = time.monotonic() - began
        with suppress(OpsError):
            local_audit.end(run, name, outcome=outcome, exit_code=int(code), seconds=seconds, detail=detail)

    try:
        local_audit.begin(entry, name)
        done = _verb(story, kind, within)(seen.id, telling.waiting)
    except OpsError as error:
        written("interrupted" if error.exit_code >= ExitCode.HANGUP else "failed", error.exit_code, error.info.what)
        return telling.failed(error)
    except BaseException as error:
        written("failed", ExitCode.BUG, type(error).__name__)
        raise
    written("done", ExitCode.DONE)
    return telling.end(Outcome.CHANGED, f"{done.kind} {done.status} (action {done.id})")


def _verb(story: Story, kind: str, within: float | None) -> Callable[[int, Tell], CloudAction]:
    cloud, cancel = story.means.cloud(), story.means.cancel.child(within)
    verbs: dict[str, Callable[[int, Tell], CloudAction]] = {
        "cloud-reboot": lambda ref, tell: cloud.reboot(ref, cancel=cancel, tell=tell),
        "power-cycle": lambda ref, tell: cloud.power_cycle(ref, cancel=cancel, tell=tell),
        "power-on": lambda ref, tell: cloud.power_on(ref, cancel=cancel, tell=tell),
    }
    return verbs[kind]
