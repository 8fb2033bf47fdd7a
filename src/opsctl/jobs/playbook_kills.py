"""Whether the stack lost anything for want of memory since a playbook's run began."""

from __future__ import annotations

import math
import time

from opsctl.jobs.playbook_place import Place
from opsctl.jobs.why_times import clock, seconds_of, utc
from opsctl.model.engine import StackFacts
from opsctl.model.memory_facts import MemoryFacts

_NO_DISK = 0.1  # s for the engine's disk figures, which nobody looks at here


def none_killed(place: Place, began: str) -> tuple[bool, str]:
    """Look once. `began` is when the run did, by this machine's clock; "" where it has not (a dry run)."""
    start, asked = seconds_of(began), time.time()
    if start is None:
        return True, "nothing was killed for memory: the run has not begun"
    memory = place.memory.read(place.reads, cancel=place.cancel, patience=_NO_DISK)
    # The droplet's clock may be another one, and its kernel's stamps are by that.
    return judge(memory, place.facts(), start + memory.taken - asked)


def judge(memory: MemoryFacts, facts: StackFacts, since: float) -> tuple[bool, str]:
    """Whether no container of the stack was killed from `since` on (the droplet's clock, in seconds); pure.

    The kernel's log names the victims. A container's own counter knows no times: it counts where the container began
    later. The engine's mark is asked only where the log cannot tell.
    """
    since = math.floor(since)  # the log's stamps are cut to the second
    timed = memory.ooms is not None and all(event.time for event in memory.ooms if event.boot == 0)
    killed = {event.victim_id for event in memory.ooms or () if _later(event.time, since)}
    for each in memory.containers:
        if each.memory is not None and each.memory.oom_kills and _later(each.started_at, since):
            killed.add(each.id)
    own = [each for each in facts.containers if facts.of(each.service) is each]
    if not timed:
        killed |= {each.id for each in own if each.oom_killed and _later(each.finished_at, since)}
    names = [each.service for each in own if each.id in killed]
    when = f"killed for memory since {clock(utc(since))}"
    if names:
        return False, f"{when}: {', '.join(names)}"
    return True, f"nothing was {when}" + ("" if timed else ", as far as it can be told without the kernel log")


def _later(stamp: str, since: float) -> bool:
    seconds = seconds_of(stamp)
    return seconds is not None and seconds >= since
