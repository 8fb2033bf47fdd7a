"""Tells somebody when a droplet's state changes: once, with a reminder, and when all is well again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from opsctl.jobs import alerts_send
from opsctl.jobs.call import STATE_DIR
from opsctl.model.alerts import AlertCheck, AlertTest, Delivery, KnownProblem
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, ErrorInfo, ExitCode, OpsError, StepFailed
from opsctl.model.ports import Script, Shell
from opsctl.model.result import DropletResult
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet, Stack
from opsctl.model.status import Level, Status
from opsctl.spine import holders

FILE = f"{STATE_DIR}/alerts.json"
PATIENCE = 45.0
"""Seconds that something must be wrong before somebody is told: a restart is not worth a message."""

AT_WORK = 900.0
"""Seconds of patience while somebody has the droplet's lease: a deploy takes services down on purpose."""

REMINDER = 6 * 3600.0  # s
_STARTING = 300.0  # s; what starts for longer than that does not start
_READ = 'date +%s; cat -- "$1" 2>/dev/null; exit 0'
_WRITE = r"""
umask 077
mkdir -p -- "${1%/*}" && printf '%s\n' "$2" >"$1.new" && mv -f -- "$1.new" "$1"
"""


@dataclass(frozen=True)
class Seen:
    """What is wrong now, by key: text and what to type."""

    problems: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Told:
    """What follows from a look and from what was known: the state to keep if the message (if any) arrives."""

    problems: tuple[KnownProblem, ...]
    message: str


def check(
    shell: Shell, stack: Stack, droplet: Droplet, seen: Seen, *, cancel: Cancel, patience: float = PATIENCE
) -> DropletResult[AlertCheck]:
    """Compare a look with the last one, tell what changed, and keep it on the droplet; ping while all is well.

    What could not be delivered is told again at the next check. FAILED where a way did not work.
    """
    clock, _, text = shell.run(Script(_READ, (FILE,)), cancel=cancel, timeout=30).text.partition("\n")
    known = parse(text)
    untold = set(seen.problems) - {each.key for each in known if each.told}
    if untold and patience and _at_work(shell, cancel):
        patience = max(patience, AT_WORK)
    told = decide(seen, known, float(clock), droplet.name, patience=patience)
    sent: list[Delivery] = []
    nobody = not (stack.alerts.get("webhook") or stack.alerts.get("command"))
    if nobody:
        told = Told(_untold(told.problems, ()), "")
    if told.message:
        state = "problem" if told.problems else "recovered"
        sent = _tell(shell, stack.alerts, told.message, {"droplet": droplet.name, "state": state}, cancel)
    arrived = not told.message or any(each.ok for each in sent) or not sent
    # Nothing was told: what is new is remembered as wrong, not as told, and what went stays until that was said.
    kept = told.problems if arrived else _untold(told.problems, known)
    if kept != known:
        _keep(shell, kept, droplet, cancel)
    if not seen.problems and (url := stack.alerts.get("ping")) is not None:
        sent.append(alerts_send.ping(url, cancel=cancel))
    notes = (_NOBODY,) if nobody else ()
    result = AlertCheck(not seen.problems, told.problems, told.message, tuple(sent), notes, tells=not nobody)
    error = _failure(sent, stack)
    return DropletResult(droplet.name, result, error, ExitCode.FAILED if error else ExitCode.DONE)


def test(shell: Shell, stack: Stack, droplet: Droplet, *, cancel: Cancel) -> DropletResult[AlertTest]:
    """Send a test message on every way there is. Raises ConfigError where there is none."""
    ways = {key: stack.alerts[key] for key in ("webhook", "command", "ping") if key in stack.alerts}
    if not ways:
        raise ConfigError(
            "the stack file names nobody to tell",
            why="it has no alerts",
            next='opsctl alert test   # when it has:  alerts: {webhook: "${ALERT_URL}", ping: "${DEADMAN_URL}"}',
            path=stack.path,
        )
    message = f"{droplet.name}: a test of opsctl's alerts\nNothing is wrong. Somebody ran opsctl alert test."
    more = {"droplet": droplet.name, "state": "test"}
    sent = _tell(shell, ways, message, more, cancel)
    if (url := ways.get("ping")) is not None:
        sent.append(alerts_send.ping(url, cancel=cancel))
    notes = () if droplet.address == "local" else (_FROM_HERE,)
    error = _failure(sent, stack)
    return DropletResult(
        droplet.name, AlertTest(tuple(sent), notes), error, ExitCode.FAILED if error else ExitCode.DONE
    )


def look(status: Status) -> Seen:
    """What of a status is worth an alert: what failed, and memory below the reserve. What starts is not yet wrong."""
    starting = {
        each.name
        for each in status.services
        if each.level is Level.STARTING and (each.since is None or each.since < _STARTING)
    }
    found: dict[str, tuple[str, str]] = {}
    for each in status.problems:
        memory = not each.service and "below the reserve" in each.text
        if (each.level == "failed" and each.service not in starting) or memory:
            found.setdefault(each.service or ("memory" if memory else each.text), (each.text, each.next))
    return Seen(found)


def broken(error: OpsError) -> Seen:
    """A droplet whose state cannot be read is not well."""
    return Seen({"status": (error.info.what, error.info.next)})


def decide(seen: Seen, known: Sequence[KnownProblem], now: float, droplet: str, *, patience: float = PATIENCE) -> Told:
    """What is to be told, and what is known then. Pure."""
    before = {each.key: each for each in known}
    problems, new, again = [], list[KnownProblem](), list[KnownProblem]()
    for key, (text, advice) in seen.problems.items():
        # A clock that was put back must not silence anything.
        since = min(before[key].since, now) if key in before else now
        each = KnownProblem(key, text, advice, since, min(before[key].told, now) if key in before else 0.0)
        if not each.told and now - each.since >= patience:
            each = replace(each, told=now)
            new.append(each)
        elif each.told and now - each.told >= REMINDER:
            each = replace(each, told=now)
            again.append(each)
        problems.append(each)
    gone = [each for each in known if each.told and each.key not in seen.problems]
    return Told(tuple(problems), _message(droplet, new, again, gone, problems, now))


def _message(
    droplet: str,
    new: Sequence[KnownProblem],
    again: Sequence[KnownProblem],
    gone: Sequence[KnownProblem],
    all_of: Sequence[KnownProblem],
    now: float,
) -> str:
    """The droplet and what changed in the first line; then everything with what to type."""
    if not (new or again or gone):
        return ""
    if new:
        head = new[0].text if len(new) == 1 else f"{len(new)} new problems"
    elif gone:
        head = f"recovered: {', '.join(each.key for each in gone)}"
    else:
        head = f"still: {again[0].text}" if len(again) == 1 else f"still {len(again)} problems"
    lines = [f"{droplet}: {head}"]
    for each in (*new, *again):
        lines.append(f"- {each.text} (for {_ago(now - each.since)})")
        lines += [f"  {each.next.splitlines()[0]}"] if each.next else []
    lines += [f"- recovered: {each.key}, after {_ago(now - each.since)}" for each in gone]
    others = [each.key for each in all_of if each.told and each not in new and each not in again]
    lines += [f"- still not well: {', '.join(others)}"] if others else ["- all is well"] if not all_of else []
    return "\n".join(lines)


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def parse(text: str) -> tuple[KnownProblem, ...]:
    """What alerts.json says; nothing for what cannot be read."""
    try:
        return tuple(KnownProblem(**each) for each in json.loads(text or "{}").get("problems", ()))
    except (ValueError, TypeError, AttributeError):
        return ()


def _untold(now: Sequence[KnownProblem], known: Sequence[KnownProblem]) -> tuple[KnownProblem, ...]:
    before = {each.key: each for each in known}
    kept = [replace(each, told=before[each.key].told if each.key in before else 0.0) for each in now]
    names = {each.key for each in now}
    return (*kept, *(each for each in known if each.told and each.key not in names))


def _keep(shell: Shell, problems: Sequence[KnownProblem], droplet: Droplet, cancel: Cancel) -> None:
    text = json.dumps({"version": 1, "problems": [asdict(each) for each in problems]}, ensure_ascii=False)
    done = shell.run(Script(_WRITE, (FILE, text)), cancel=cancel, timeout=30)
    if done.code != 0:
        raise StepFailed(
            f"{FILE} on {droplet.name} cannot be written", why=done.error_text, next="opsctl doctor", code="no-state"
        )


def _at_work(shell: Shell, cancel: Cancel) -> bool:
    """Whether somebody has the lease of the stack right now."""
    found = holders.parse(shell.run(holders.read(STATE_DIR), cancel=cancel, timeout=30).text)
    return any(each.scope == "stack" and each.state == "held" for each in found)


def _tell(
    shell: Shell, ways: Mapping[str, Secret], message: str, more: Mapping[str, str], cancel: Cancel
) -> list[Delivery]:
    sent = []
    if (url := ways.get("webhook")) is not None:
        sent.append(alerts_send.post(url, message, more, cancel=cancel))
    if (text := ways.get("command")) is not None:
        sent.append(alerts_send.command(shell, text, message, cancel=cancel))
    return sent


def _failure(sent: Sequence[Delivery], stack: Stack) -> ErrorInfo | None:
    failed = [each for each in sent if not each.ok]
    if not failed:
        return None
    why = "; ".join(f"{each.way} to {each.to}: {each.error}" for each in failed)
    keys = " and ".join(f"alerts.{each.way}" for each in failed)
    then = f"opsctl alert test   # when {keys} in {stack.path or 'the stack file'} is right"
    return StepFailed("a message did not arrive", why=why, next=then, code="not-delivered").info


_NOBODY = "nobody is ever told: no alerts.webhook or .command in the stack file"
_FROM_HERE = "sent from this machine; from the droplet itself: opsctl cron run watch"
