"""What came back and what did not, and what to try next. Pure."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator

from opsctl.jobs.criteria import Reading, failed, met, unreachable
from opsctl.jobs.recover_link import Story
from opsctl.model.cloud import CloudDroplet
from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.recovery import Climb, Criterion, Missing, Recovery, Rung
from opsctl.model.result import DropletResult

_ORDER = tuple(Rung)


def result(
    story: Story,
    *,
    before: Reading | None,
    after: Reading | None,
    away: ErrorInfo | None,
    was_away: ErrorInfo | None,
    criteria: tuple[Criterion, ...],
    seen: CloudDroplet | None,
) -> DropletResult[Recovery]:
    """The whole story of one droplet, with its exit code."""
    droplet = story.means.droplet
    if away is not None:
        criteria, after = unreachable(droplet.address, away), None
    good = met(criteria)
    missing = tuple(_missing(after, story)) if after is not None and after.facts is not None else ()
    advice = tuple(dict.fromkeys(_advice(story, good, away, criteria, seen, after or before)))[:5]
    told = Recovery(
        droplet=droplet.name,
        dry_run=story.wishes.dry_run,
        recovered=good,
        climbs=tuple(story.climbs) if not story.wishes.dry_run else tuple(_would(story, before, away, good)),
        criteria=criteria,
        back=after.up() if after is not None else (),
        missing=missing,
        stopped=tuple(dict.fromkeys(story.stopped)),
        before=before.why if before else None,
        unreachable=was_away or away,
        after=after.why if after is not None and after is not before else None,
        boot_before=story.boot_before,
        boot_after=story.boot_after,
        ended="" if good else story.ended,
        advice=advice,
        seconds=round(time.monotonic() - story.began, 3),
    )
    if good or story.wishes.dry_run:
        return DropletResult(droplet.name, told)
    return DropletResult(droplet.name, told, _error(story, away, criteria, advice), _code(story, away, after))


def _code(story: Story, away: ErrorInfo | None, after: Reading | None) -> ExitCode:
    return ExitCode.UNREACHABLE if away is not None or after is None or after.facts is None else ExitCode.GATE


def _error(story: Story, away: ErrorInfo | None, criteria: tuple[Criterion, ...], advice: tuple[str, ...]) -> ErrorInfo:
    name = story.means.droplet.name
    first = advice[0] if advice else "opsctl why"
    if away is not None:
        why = "; ".join(part for part in (away.why or away.what, story.ended) if part)
        return ErrorInfo("not-back", f"{name} does not answer", why, first)
    broken = failed(criteria)
    # Without an engine no service can be asked: that is one failure, and not five.
    broken = tuple(each for each in broken if each.name == "engine") or broken
    bad = [f"{each.name}: {each.seen}" for each in broken]
    why = "; ".join([*bad[:4], *([story.ended] if story.ended else [])])
    return ErrorInfo("not-recovered", f"{name} has not recovered", why, first)


def _missing(after: Reading, story: Story) -> Iterator[Missing]:
    for name, service in after.stack.services.items():
        up, seen = after.standing(name)
        if up or service.phase is None:
            continue
        if name in story.stopped:
            yield Missing(name, "stopped to make room", f"opsctl startup --only {name}")
        elif name in after.required:
            yield Missing(name, seen, f"opsctl why {name}")
        else:
            yield Missing(name, seen, f"opsctl startup --phase {service.phase}")


def _advice(
    story: Story,
    good: bool,
    away: ErrorInfo | None,
    criteria: tuple[Criterion, ...],
    seen: CloudDroplet | None,
    reading: Reading | None,
) -> Iterator[str]:
    """Commands and places, the best first."""
    if good:
        if story.stopped:
            yield "opsctl memory report   # why there was no room"
        return
    flag = f" -d {shlex.quote(story.means.droplet.name)}" if len(story.means.stack.droplets) > 1 else ""
    further = list(_ORDER[_ORDER.index(story.wishes.up_to) + 1 :])
    if away is not None:
        if further:
            yield f"opsctl recover{flag} --up-to {Rung.POWER_CYCLE.value} --yes"
        if seen is not None and seen.console:
            yield f"look at its console: {seen.console}"
        if not further:
            yield "ask the provider whether the machine under it is broken; its last snapshot can be restored there"
        return
    if reading is not None and reading.untouched():
        yield f"opsctl startup{flag}   # nothing of the stack was ever started here"
        return
    looping = reading.looping() if reading is not None else ()
    yield from (f"opsctl logs {name}{flag} --since 10m" for name in looping)
    # What another boot left broken, a harder one does not mend; nor a program that crashes at its first line.
    alone = {each.name for each in failed(criteria)} <= {*looping, "restarts"}
    if (
        further
        and not (looping and alone)
        and story.boot_after == story.boot_before
        and story.ended.startswith("it may go no further")
    ):
        yield f"opsctl recover{flag} --up-to {further[0].value}"
    for climb in story.climbs:
        if climb.error is not None and climb.error.code in ("image-missing", "no-memory", "state-folder"):
            yield climb.error.next
    for each in failed(criteria):
        if each.name == "memory" or each.name == "OOM kills":
            yield f"opsctl memory report{flag}"
        elif each.name == "engine":
            yield "on the droplet: journalctl -u docker -n 50"
        elif each.name != "SSH" and not any(one.name == "engine" for one in failed(criteria)):
            yield f"opsctl why {each.name}{flag}"


def _would(story: Story, before: Reading | None, away: ErrorInfo | None, good: bool) -> Iterator[Climb]:
    """What a dry run says would be tried, in this order, until the criteria hold."""

    def climb(kind: str, title: str) -> Climb:
        return Climb(kind, title, None, "would be tried")

    bound = _ORDER.index(story.wishes.up_to)
    if good:
        return
    if before is not None and away is None:
        if before.why.verdict == "engine":
            yield climb("engine", "start the Docker engine")
        if failing := before.failing() if before.facts else ():
            yield climb("service", f"restart what failed: {', '.join(failing)}")
        if bound >= 1 and before.facts is not None:
            up = before.up()
            others = [name for name in before.stack.services if name in up and name not in before.required]
            rest = f"stop {', '.join(others)}; " if others else ""
            yield climb("fallback", f"{rest}run {', '.join(before.required)} alone")
        if before.untouched():
            return  # no boot starts what never ran
        if bound >= 2:
            yield climb("reboot", "reboot over SSH")
    if bound >= 2:
        yield climb("cloud-reboot", "reboot through the provider")
    if bound >= 3:
        yield climb("power-cycle", "power-cycle through the provider")
