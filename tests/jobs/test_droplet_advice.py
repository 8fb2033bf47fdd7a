"""When a larger droplet is due, by the three rules; what is not known is said and speaks for nothing."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.jobs.test_droplet_plan import DROPLET, GB, SIZES

from opsctl.jobs.droplet_advice import Wanted, judge, next_size, outgrown, swapping, unfit
from opsctl.jobs.droplet_history import Sample, parse
from opsctl.model.memory import HostMemory, MemoryReport
from opsctl.model.memory_facts import Pressure
from opsctl.model.stack import Droplet, Redundant, Service, Stack

MIB = 2**20
HOURS = 3600.0
IDLE = Pressure((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0, 0)
STALLED = Pressure((9.0, 8.0, 6.0), (4.0, 3.0, 2.0), 0, 0)


def look(
    swapped: int = 0, *, pressure: Pressure | None = IDLE, available: int = 500, nested: bool = False
) -> MemoryReport:
    """A report of an idle droplet with so many MB moved in and out since the boot."""
    host = HostMemory(
        name="agents",
        kernel="6.12",
        engine="26.1.5",
        engine_problem="",
        cgroup_version=2,
        nested=nested,
        boot_id="b",
        uptime=1000.0,
        total=2 * GB,
        available=available * 10**6,
        used=2 * GB - available * 10**6,
        free=0,
        swap_total=2 * GB,
        swap_used=GB,  # used, and saying nothing
        swapped_in=None if nested else swapped * MIB,
        swapped_out=None if nested else swapped * MIB,
        oom_kills=0,
        pressure=pressure,
        reserve=200_000_000,
    )
    empty = MemoryReport.__new__(MemoryReport)
    for key, value in {"host": host, "containers": ()}.items():
        object.__setattr__(empty, key, value)
    return empty


def test_swapping_is_traffic_and_pressure_together() -> None:
    assert swapping(look(10), look(40, pressure=STALLED), seconds=3).speaks is True
    assert swapping(look(10), look(40), seconds=3).speaks is False, "nobody waits for it"
    assert swapping(look(10), look(10, pressure=STALLED), seconds=3).speaks is False, "pressure of another kind"
    assert swapping(look(10), look(10), seconds=3).speaks is False, "used swap is no swapping"


def test_what_is_not_known_speaks_for_nothing() -> None:
    nested = swapping(look(nested=True), look(nested=True), seconds=3)
    assert (nested.speaks, nested.missing) == (None, "its counters are the whole machine's")
    assert swapping(look(10), look(40, pressure=None), seconds=3).speaks is None


def history(*sizes: int, every: float = HOURS) -> list[Sample]:
    return [Sample(number * every, {"orchestrator": size * 10**6}) for number, size in enumerate(sizes)]


def test_outgrown_is_nearly_always_for_a_day() -> None:
    above = 1_500_000_000
    assert outgrown(history(*[1600] * 30), "orchestrator", above).speaks is True
    assert outgrown(history(*[1600] * 15, *[900] * 15), "orchestrator", above).speaks is False
    short = outgrown(history(*[1600] * 5), "orchestrator", above)
    assert short.speaks is None
    assert "a day is needed" in short.missing
    assert outgrown([], "orchestrator", above).missing.startswith("opsctl cron install")


def test_the_history_is_read_as_cron_writes_it() -> None:
    line = {"at": "2026-11-20T22:00:00Z", "boot": "1f", "total": 1, "available": 1, "services": {"orchestrator": 5}}
    torn = json.dumps(line)[:40]
    (only,) = parse(f"{json.dumps(line)}\n{torn}\nnoise\n[]\n")
    assert only.services == {"orchestrator": 5}


def stack(**memory: int | None) -> Stack:
    services = {name: Service(name, 3, None if size is None else size * 10**6) for name, size in memory.items()}
    return Stack(None, {}, services)


def test_a_service_that_needs_more_than_there_is() -> None:
    droplet = Droplet("agents", "root@203.0.113.7", reserve=200_000_000)
    assert unfit(look(available=500), stack(rag=250), droplet).speaks is False
    assert unfit(look(available=500), stack(rag=350), droplet).speaks is True
    assert unfit(look(available=500), stack(rag=200, agent=200), droplet).speaks is True, "not both"
    assert unfit(look(available=500), stack(rag=None), droplet).speaks is None
    redundant = replace(stack(rag=900), redundant={"rag": Redundant("elsewhere")})
    assert unfit(look(available=500), redundant, droplet).speaks is False


def test_the_next_size_is_the_cheapest_larger_one_there() -> None:
    found = next_size(DROPLET, SIZES)
    assert found is not None
    assert found.slug == "s-2vcpu-4gb"
    assert next_size(replace(DROPLET, size="s-2vcpu-4gb", memory=4 * 2**30, disk=80 * GB), SIZES) is None


def test_the_verdict_has_size_price_and_command() -> None:
    droplet = Droplet("agents", "root@203.0.113.7")
    looks = (look(10), look(40, pressure=STALLED))
    advice = judge(DROPLET, SIZES, looks, [], stack(), droplet, Wanted("", 1_500_000_000))
    assert advice.verdict.startswith("a larger droplet is due: it swaps again")
    assert "s-2vcpu-2gb 2 GB $18 → s-2vcpu-4gb 4 GB $24 a month" in advice.verdict
    assert advice.command == "opsctl droplet resize s-2vcpu-4gb -d agents"
    calm = judge(DROPLET, SIZES, (look(10), look(10)), [], stack(), droplet, Wanted("", 1_500_000_000))
    assert calm.command == ""
    assert "nothing speaks for a larger droplet; not known: orchestrator" in calm.verdict
