"""Rebooting a droplet from inside, and waiting until it is really another boot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

from opsctl.jobs.call import carry_out
from opsctl.jobs.recover_link import HOLD, HOLD_SECONDS, Link, Story, Telling
from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded, Interrupted, LeaseHeld, OpsError, StepFailed
from opsctl.model.events import Outcome
from opsctl.model.plan import Action, Plan, Step
from opsctl.model.ports import Script
from opsctl.model.recovery import Climb
from opsctl.model.units import show_duration
from opsctl.spine import hold
from opsctl.spine.batch import Batch, Handler

_SCRIPT = 15.0  # s
_LAST_WORDS = 3.0
_EVERY = 0.1  # s between two looks whether it is back
_KNOCK = 15.0  # s for sshd's first word: right after a boot everything starts at once
_LOGIN, _LONG_LOGIN = 20.0, 60.0  # s for a login while the droplet is still busy with its boot
_ENGINE = 120.0  # s for Docker after SSH
_SLACK = 5.0  # s

# Whoever takes the lease next must find this run ended: the reboot waits until the lock is free, and takes it along.
_REBOOT = r"""
export PATH="/usr/local/sbin:$PATH:/usr/sbin:/sbin"
setsid --fork bash -c '
  for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ "$fd" -gt 2 ] && eval "exec $fd>&-"; done
  exec 9<"$1" && flock -w 10 9
  timeout 3 sync
  { [ -d /run/systemd/system ] && systemctl reboot; } || reboot || shutdown -r now
  sleep 20' reboot "$1" </dev/null >/dev/null 2>&1
"""

_BOOT = Script("cat /proc/sys/kernel/random/boot_id; cut -d' ' -f1 /proc/uptime")
_WAIT_ENGINE = r"""
export PATH="$PATH:/usr/local/bin:/snap/bin"
[ -z "$1" ] || export DOCKER_HOST="unix://$1"
while ! timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; do
  [ "$SECONDS" -lt "$2" ] || exit 1
  if [ -d /run/systemd/system ]; then
    if systemctl is-failed -q docker.service; then exit 2; fi
  elif [ "$SECONDS" -ge 10 ] && ! pidof dockerd >/dev/null; then exit 2; fi
  sleep 0.1
done
"""


@dataclass(frozen=True)
class PlaceHold(Action):
    """Leave a hold, so that what starts by itself after the boot stands aside. Seconds."""

    kind: ClassVar[str] = "hold"
    seconds: float


@dataclass(frozen=True)
class Reboot(Action):
    """Ask the droplet's own system to start again."""

    kind: ClassVar[str] = "reboot"
    boot_id: str


def reboot(link: Link, story: Story) -> Climb:
    """Ask the droplet's system to reboot; over when it was asked. The lease is given back before it goes."""
    telling = story.told("reboot", "reboot over SSH")
    state_dir = story.means.state_dir

    def place(batch: Batch) -> None:
        answer = batch.change(_place(state_dir), timeout=_SCRIPT)
        if answer.code != 0:
            raise StepFailed("the hold could not be placed", why=answer.error_text, next=f"ls -ld {state_dir}")
        batch.done(batch.steps[0], Outcome.CHANGED, "what starts by itself stands aside")

    def go(batch: Batch) -> None:
        answer = batch.change(Script(_REBOOT, (f"{state_dir}/lease/stack.lock",)), timeout=_SCRIPT)
        if answer.code != 0:
            raise StepFailed("the droplet could not be asked to reboot", why=answer.error_text, next="opsctl why")
        batch.done(batch.steps[0], Outcome.CHANGED, "asked for")

    steps = (
        Step("hold", "leave a hold for the time after the boot", PlaceHold(HOLD_SECONDS)),
        Step("reboot", "reboot", Reboot(story.boot_before), needs=("hold",), destructive=True),
    )
    handlers = {PlaceHold.kind: Handler(place), Reboot.kind: Handler(go)}
    try:
        run = carry_out(link.fresh(story.runs, telling.title), Plan("recover", steps), handlers, changes=True)
    except LeaseHeld:
        raise  # somebody works there: no reason to cut them off
    except OpsError as error:
        return telling.failed(error)
    if run.interrupted is not None:
        story.means.cancel.check("the reboot")
    bad = [each for each in run.steps if each.outcome is Outcome.FAILED]
    if bad:
        return telling.end(Outcome.FAILED, bad[0].detail, run=run, error=bad[0].error)
    return telling.end(Outcome.CHANGED, "asked for", run=run)


def _place(state_dir: str) -> Script:
    return hold.place(state_dir, HOLD, "opsctl recover is bringing this droplet back", HOLD_SECONDS)


def place_hold(link: Link, story: Story) -> None:
    """After a boot that could not be prepared: the hold goes there first of all. No failure stops a recovery."""
    with suppress(OpsError):
        link.shell.run(_place(story.means.state_dir), cancel=story.means.cancel, timeout=_SCRIPT)


def lift_hold(link: Link, story: Story) -> None:
    """Take the hold away; it ends by itself where nobody can."""
    with suppress(OpsError):  # the run's own token may be done by now
        link.shell.run(hold.lift(story.means.state_dir, HOLD), cancel=Cancel(_LAST_WORDS), timeout=_LAST_WORDS)


def tidy(link: Link, story: Story) -> None:
    """Take away the hold of a run that was killed, where there is one."""
    with suppress(OpsError):
        answer = link.shell.run(hold.read(story.means.state_dir), cancel=story.means.cancel, timeout=_SCRIPT)
        left = hold.parse(answer.text)
        if left is not None and left.run_id == HOLD:
            lift_hold(link, story)


@contextmanager
def next_boot(story: Story, since: float, within: float) -> Iterator[Link]:
    """A connection to the boot after this one; `since` is when it was asked for (monotonic, s), `within` seconds.

    Raises DeadlineExceeded with the last state seen.
    """
    telling = story.told("boot", "wait for SSH and a new boot")
    with ExitStack() as stack:
        try:
            link = _await(story, since, within, telling, stack)
        except OpsError as error:
            telling.failed(error)
            raise
        telling.end(
            Outcome.CHANGED,
            f"boot {story.boot_after}, {show_duration(time.monotonic() - since)} after it was asked for",
        )
        yield link


def _await(story: Story, since: float, within: float, telling: Telling, stack: ExitStack) -> Link:
    means = story.means
    bound = means.cancel.child(within)
    telling.waiting("SSH still answers" if story.boot_before else "SSH does not answer")
    patience = _LOGIN  # more from one login to the next, for the first one may meet the end of the boot before
    while True:
        if means.knock(bound.child(_KNOCK)):
            with ExitStack() as attempt:
                try:
                    link = attempt.enter_context(means.connect(patience))
                    if _is_new(link, story, since, patience, telling):
                        stack.enter_context(attempt.pop_all())
                        return link
                except Interrupted:
                    raise
                except OpsError as error:
                    patience = min(patience * 1.5, _LONG_LOGIN)
                    telling.waiting(f"SSH is not ready: {error.info.why or error.info.what}")
        else:
            telling.waiting("SSH does not answer")
        if bound.wait(_EVERY):
            means.cancel.check("the next boot")
            raise DeadlineExceeded(
                f"{means.droplet.name} did not come back within {show_duration(within)}",
                why=f"last state seen: {telling.last}",
                code="not-back",
            )


def _is_new(link: Link, story: Story, since: float, patience: float, telling: Telling) -> bool:
    bound = story.means.cancel.child(patience)
    words = link.call.host.run(_BOOT, cancel=bound, timeout=patience).text.split()
    if len(words) < 2:
        return False
    boot, up = words[0], float(words[1])
    # Where the boot before is unknown, one that is older than the request is no new one.
    new = boot != story.boot_before if story.boot_before else up < time.monotonic() - since + _SLACK
    if new:
        story.boot_after = boot
    else:
        telling.waiting(f"SSH answers, but it is still the same boot, up for {show_duration(up)}")
    return new


def engine_is_back(link: Link, story: Story) -> bool:
    """Wait for Docker after a boot; False when it failed, or was not there in time."""
    telling = story.told("docker", "wait for the Docker engine")
    socket = link.call.droplet.socket or ""
    try:
        script = Script(_WAIT_ENGINE, (socket, f"{_ENGINE:.0f}"))
        code = link.call.host.run(script, cancel=story.means.cancel, timeout=_ENGINE + _SCRIPT).code
    except OpsError as error:
        telling.failed(error)
        return False
    words = {0: "it answers", 2: "it failed"}.get(code, f"no answer within {show_duration(_ENGINE)}")
    telling.end(Outcome.UNCHANGED if code == 0 else Outcome.FAILED, words)
    return code == 0
