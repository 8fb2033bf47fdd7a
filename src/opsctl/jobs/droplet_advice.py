"""Is a droplet too small? Three rules: it swaps again, one service outgrows it, something does not fit any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsctl.jobs.droplet_find import find
from opsctl.jobs.droplet_history import Sample, read
from opsctl.jobs.memory import collect
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud, CloudDroplet, CloudSize
from opsctl.model.droplet import Advice, SizeAdvice
from opsctl.model.memory import MemoryReport, Verdict
from opsctl.model.memory_facts import MemoryReader
from opsctl.model.ports import Shell
from opsctl.model.stack import Droplet, Stack
from opsctl.model.units import show_duration, show_size

APART = 3.0  # s between two looks at the swap traffic
SWAPS = 256 * 1024  # bytes a second, in and out together: less is what the kernel does anyway
PRESSURE = 1.0  # percent of the last five minutes in which tasks stood still for memory
STEADY_SHARE = 0.8  # of the samples
STEADY_SPAN = 24 * 3600.0  # s that the history must cover
_STATE_DIR = "/var/lib/opsctl"


@dataclass(frozen=True)
class Wanted:
    """Which service must not steadily hold more than `above` bytes; "" is the orchestrator."""

    service: str
    above: int


def advise(
    cloud: Cloud,
    shell: Shell,
    reader: MemoryReader,
    stack: Stack,
    droplet: Droplet,
    *,
    wanted: Wanted,
    cancel: Cancel,
) -> SizeAdvice:
    """Look twice, some seconds apart, and judge. Raises what the host and the cloud raise."""
    there = find(cloud, droplet, cancel=cancel)
    sizes = cloud.sizes(cancel=cancel)
    first = collect(shell, reader, stack, droplet, cancel=cancel)
    samples = read(shell, _STATE_DIR, cancel=cancel)
    if cancel.wait(APART):
        cancel.check("a second look at the swap traffic")
    second = collect(shell, reader, stack, droplet, cancel=cancel)
    return judge(there, sizes, (first, second), samples, stack, droplet, wanted)


def judge(
    there: CloudDroplet,
    sizes: Sequence[CloudSize],
    looks: tuple[MemoryReport, MemoryReport],
    samples: Sequence[Sample],
    stack: Stack,
    droplet: Droplet,
    wanted: Wanted,
) -> SizeAdvice:
    """The advice that follows from what was read; pure."""
    rules = (
        swapping(*looks, seconds=APART),
        outgrown(samples, wanted.service or "orchestrator", wanted.above),
        unfit(looks[1], stack, droplet),
    )
    larger = next_size(there, sizes)
    speak = [rule.rule for rule in rules if rule.speaks]
    unknown = [rule.rule for rule in rules if rule.speaks is None]
    if speak and larger:
        verdict = f"a larger droplet is due: {', '.join(speak)}"
    elif speak:
        verdict = f"a larger droplet is due ({', '.join(speak)}), and there is none in {there.region}"
    elif unknown:
        verdict = f"nothing speaks for a larger droplet; not known: {', '.join(unknown)}"
    else:
        verdict = "large enough"
    if larger:
        step = f"{there.size} {there.memory / 2**30:g} GB ${there.price:g} → {larger.slug} {larger.memory / 2**30:g} GB"
        verdict += f"\nthe next size: {step} ${larger.price:g} a month"
    return SizeAdvice(
        rules,
        there.size,
        there.price,
        larger.slug if larger else "",
        larger.memory if larger else 0,
        larger.price if larger else 0.0,
        verdict,
        f"opsctl droplet resize {larger.slug} -d {droplet.name}" if speak and larger else "",
    )


def swapping(first: MemoryReport, second: MemoryReport, *, seconds: float) -> Advice:
    """Pages move in and out, and tasks wait for them. How much swap is used says nothing."""
    rule = "it swaps again"
    before, now = first.host, second.host
    counters = (before.swapped_in, before.swapped_out, now.swapped_in, now.swapped_out)
    if None in counters:
        missing = "its counters are the whole machine's" if now.nested else "the kernel does not count it"
        return Advice(rule, None, "the swap traffic is not known", missing)
    moved_in = (now.swapped_in or 0) - (before.swapped_in or 0)
    moved_out = (now.swapped_out or 0) - (before.swapped_out or 0)
    rate = (moved_in + moved_out) / seconds
    pressure = now.pressure.some[2] if now.pressure is not None else None
    text = f"{show_size(moved_in)} in, {show_size(moved_out)} out within {seconds:g} s"
    if pressure is None:
        known = None if rate >= SWAPS else False
        return Advice(rule, known, text, "pressure is not known: the kernel needs CONFIG_PSI")
    text += f"; tasks stood still for memory {pressure:.1f} % of the last 5 minutes"
    return Advice(rule, rate >= SWAPS and pressure >= PRESSURE, text)


def outgrown(samples: Sequence[Sample], service: str, above: int) -> Advice:
    """One service holds too much, nearly always, for a day."""
    rule = f"{service} steadily holds more than {show_size(above)}"
    held = [(each.at, each.services[service]) for each in samples if service in each.services]
    if not held:
        return Advice(rule, None, "no history of its memory", "opsctl cron install   # records the memory from now on")
    span = held[-1][0] - held[0][0]
    over = sum(size > above for _, size in held) / len(held)
    latest, most = held[-1][1], max(size for _, size in held)
    text = f"{show_size(latest)} now, {show_size(most)} at most, above it in {over:.0%} of {show_duration(span)}"
    if span < STEADY_SPAN:
        return Advice(rule, None, text, f"the history covers {show_duration(span)}, a day is needed")
    return Advice(rule, over >= STEADY_SHARE, text)


def unfit(look: MemoryReport, stack: Stack, droplet: Droplet) -> Advice:
    """A service of the stack that does not run needs more than there is, even without what is redundant."""
    rule = "a service does not fit"
    running = {each.service for each in look.containers if each.verdict is not Verdict.STOPPED}
    down = [each for each in stack.services.values() if each.name not in running and each.name not in stack.redundant]
    unknown = [each.name for each in down if each.memory is None]
    gone = running & set(stack.redundant)
    spare = sum(each.unreclaimable or 0 for each in look.containers if each.service in gone)
    room = look.host.available + spare - droplet.reserve
    too_large = [each for each in down if each.memory is not None and each.memory > room]
    free = f"{show_size(max(room, 0))} are there for it"
    free += f" ({show_size(spare)} of that if what is redundant stops)" if spare else ""
    if too_large:
        names = ", ".join(f"{each.name} needs {show_size(each.memory)}" for each in too_large)
        return Advice(rule, True, f"{names}; {free}")
    needs = sum(each.memory or 0 for each in down)
    if needs > room:
        return Advice(rule, True, f"what is down needs {show_size(needs)} together; {free}")
    if unknown:
        return Advice(rule, None, f"{free}", f"no `memory` in the stack file for {', '.join(unknown)}")
    return Advice(rule, False, f"{len(down) or 'no'} service{'s' * (len(down) != 1)} down, {free}")


def next_size(there: CloudDroplet, sizes: Sequence[CloudSize]) -> CloudSize | None:
    """The cheapest one of its kind with more memory that its disk fits on."""
    kind = next((each.kind for each in sizes if each.slug == there.size), "")
    fitting = [
        each
        for each in sizes
        if each.available
        and each.memory > there.memory
        and each.disk >= there.disk
        and (not each.regions or there.region in each.regions)
        and (not kind or each.kind == kind)
    ]
    return min(fitting, key=lambda each: (each.price, each.memory), default=None)
