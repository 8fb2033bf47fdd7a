"""The ledger adds up, verdicts follow their thresholds, findings are ranked and name the next command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opsctl.jobs.memory import engine_error, report
from opsctl.jobs.memory_ledger import ledger
from opsctl.model.memory import ContainerMemory, MemoryReport, Verdict
from opsctl.model.memory_facts import (
    ContainerFacts,
    DiskFacts,
    DiskUse,
    Filesystem,
    Group,
    MemoryFacts,
    OomEvent,
    Pressure,
    RootCgroup,
    Usage,
)
from opsctl.model.stack import Droplet, Redundant, Stack

MB = 1_000_000
DROPLET = Droplet("dev", "root@192.0.2.1", reserve=200 * MB)
STACK = Stack(None, {"dev": DROPLET}, {})

# 2,000 MB that add up to the byte; what containers hold of the kernel (4) and of shmem (10) is counted once.
MEMINFO = {
    "MemTotal": 2000 * MB,
    "MemFree": 700 * MB,
    "MemAvailable": 1100 * MB,
    "Cached": 410 * MB,
    "Shmem": 30 * MB,
    "Buffers": 20 * MB,
    "KReclaimable": 50 * MB,
    "SReclaimable": 40 * MB,
    "SUnreclaim": 60 * MB,
    "KernelStack": 10 * MB,
    "PageTables": 15 * MB,
    "Percpu": 5 * MB,
    "VmallocUsed": 24 * MB,
    "SwapTotal": 0,
    "SwapFree": 0,
}


def container(name: str, held: int, limit: int, *, running: bool = True, **more: object) -> ContainerFacts:
    """One container that holds `held` MB of `limit` MB."""
    usage = Usage(
        used=(held + 5) * MB, unreclaimable=held * MB, kernel=0, shmem=0, limit=limit * MB, peak=(held + 5) * MB,
        swap=0, oom_kills=0,
    )  # fmt: skip
    facts = ContainerFacts(
        id=name * 8, name=f"p-{name}-1", service=name, project="p", image="i",
        status="running" if running else "exited",
        started_at="2026-11-20T18:00:00.123456789Z", restarts=0, oom_killed=False, exit_code=0,
        configured_limit=limit * MB, memory=usage if running else None,
    )  # fmt: skip
    fields = {key: value for key, value in more.items() if key in Usage.__dataclass_fields__}
    if fields and facts.memory:
        facts = replace(facts, memory=replace(facts.memory, **fields))  # type: ignore[arg-type]
    return replace(facts, **{key: value for key, value in more.items() if key not in fields})  # type: ignore[arg-type]


def facts(*containers: ContainerFacts, **more: object) -> MemoryFacts:
    """A droplet of 2,000 MB."""
    base = MemoryFacts(
        hostname="droplet", kernel="6.1", taken=1795202152, root_user=True, nested=False, cgroup_version=2,
        engine="27.0.1", engine_problem="", engine_socket="",
        engine_via="api", meminfo=MEMINFO, vmstat={"pswpin": 0, "pswpout": 0},
        pressure=Pressure((0, 0, 0), (0, 0, 0), 0, 0), boot_id="b", uptime=60.0, containers=containers,
        daemons=(Group("dockerd", 1, 60 * MB), Group("shims", 9, 30 * MB)),
        services=(Group("ssh.service", None, 26 * MB),),
        daemons_source="d", services_source="s", root=RootCgroup(), ooms=(), oom_source="journal",
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def made(*containers: ContainerFacts, stack: Stack = STACK, **more: object) -> MemoryReport:
    return report(facts(*containers, **more), stack, DROPLET)


def one(seen: MemoryReport) -> ContainerMemory:
    (only,) = seen.containers
    return only


def test_the_ledger_adds_up_to_the_byte_and_counts_nothing_twice() -> None:
    seen = ledger(facts(container("a", 600, 1000, kernel=4 * MB, shmem=10 * MB)))
    rows = {row.key: row.bytes for row in seen.rows}
    assert rows == {
        "containers": 600 * MB,
        "docker": 90 * MB,
        "services": (26 + 20) * MB,  # and the tmpfs outside containers
        "kernel": (60 + 10 + 15 + 5 + 14 - 4) * MB,
        "cache": (380 + 20 + 50) * MB,
        "free": 700 * MB,
    }
    assert seen.residual == 14 * MB
    assert sum(size or 0 for size in rows.values()) + seen.residual == seen.total
    assert seen.residual_share == pytest.approx(0.007)


def test_every_row_and_every_part_names_its_source() -> None:
    for row in ledger(facts(container("a", 600, 1000))).rows:
        assert row.source
        assert all(item.source for item in row.items)
        assert not row.items or sum(item.bytes or 0 for item in row.items) == row.bytes


def test_an_unknown_row_makes_the_residual_unknown() -> None:
    seen = ledger(facts(container("a", 600, 1000), daemons=None))
    assert [row.bytes for row in seen.rows if row.key == "docker"] == [None]
    assert seen.residual is None
    unread = replace(container("a", 600, 1000), memory=Usage())
    assert [row.bytes for row in ledger(facts(unread)).rows][:1] == [None]
    silent = ledger(facts(engine_problem="down"))
    assert [row.bytes for row in silent.rows][:1] == [None]


def test_a_droplet_inside_a_container_is_measured_by_its_cgroup() -> None:
    root = RootCgroup(anon=0, shmem=30 * MB, cache=200 * MB, kernel=40 * MB)
    seen = ledger(facts(container("a", 600, 1000), nested=True, root=root, cgroup_version=1))
    rows = {row.key: row.bytes for row in seen.rows}
    assert (rows["kernel"], rows["cache"]) == (40 * MB, 200 * MB)
    host = made(nested=True, root=root).host
    assert (host.pressure, host.swapped_in, host.oom_kills) == (None, None, None)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (container("a", 100, 200), Verdict.HEALTHY),
        (container("a", 169, 200), Verdict.HEALTHY),
        (container("a", 170, 200), Verdict.AT_RISK),
        (container("a", 100, 200, oom_kills=1), Verdict.AT_RISK),
        (container("a", 40, 200), Verdict.UNDER_USED),
        (container("a", 40, 200, peak=150 * MB), Verdict.HEALTHY),
        (container("a", 4, 50), Verdict.HEALTHY),  # there is nothing to gain
        (container("a", 100, 0), Verdict.NO_LIMIT),
        (container("a", 100, 2000), Verdict.NO_LIMIT),  # a limit at MemTotal never bites
        (container("a", 100, 200, running=False), Verdict.STOPPED),
        (container("a", 100, 200, unreclaimable=None), Verdict.UNKNOWN),
    ],
)
def test_verdicts(found: ContainerFacts, verdict: Verdict) -> None:
    assert one(made(found)).verdict is verdict


@pytest.mark.parametrize("started", ["2026-11-20T18:16:00Z", ""])
def test_no_limit_is_judged_too_large_in_the_first_hour(started: str) -> None:
    seen = made(container("a", 40, 200, started_at=started))
    assert (one(seen).verdict, one(seen).reason) == (Verdict.HEALTHY, "too early to judge its limit")
    assert "under-used" not in {each.kind for each in seen.findings}
    assert one(made(container("a", 100, 200, started_at=started))).reason == ""


def test_redundant_is_what_the_stack_says() -> None:
    stack = replace(STACK, redundant={"prometheus": Redundant("Grafana Cloud receives the same")})
    seen = made(container("prometheus", 95, 256), stack=stack)
    assert one(seen).verdict is Verdict.REDUNDANT
    (finding,) = [each for each in seen.findings if each.kind == "redundant"]
    assert (finding.bytes, finding.next) == (95 * MB, "opsctl stop prometheus")
    assert "Grafana Cloud" in finding.text


def test_commands_name_the_droplet_when_there_are_several() -> None:
    stack = Stack(None, {"dev": DROPLET, "b": Droplet("b", "b")}, {}, redundant={"x": Redundant("r")})
    assert "opsctl stop x -d dev" in [each.next for each in made(container("x", 9, 99), stack=stack).findings]


def test_limits_are_compared_with_the_ram_and_those_above_it_are_none() -> None:
    seen = made(container("a", 300, 1500), container("b", 300, 1500), container("c", 50, 2048), container("d", 50, 0))
    assert (seen.limits.total, seen.limits.limited) == (3000 * MB, 2)
    assert set(seen.limits.unlimited) == {"c", "d"}
    kinds = {each.kind: each for each in seen.findings}
    assert kinds["limits"].bytes == 1000 * MB
    assert kinds["no-limit"].bytes == 100 * MB


def test_findings_are_ranked_by_megabytes_memory_first() -> None:
    disk = DiskFacts((Filesystem("/", 100 * MB, 95 * MB, 5 * MB),), DiskUse(1, 9000 * MB, 8000 * MB), None, None, None)
    seen = made(
        container("a", 190, 200), container("b", 50, 0), disk=disk, meminfo={**MEMINFO, "MemAvailable": 120 * MB}
    )
    memory = [each for each in seen.findings if each.resource == "memory" and each.level != "info"]
    assert [each.kind for each in memory] == ["at-risk", "headroom", "no-limit"]
    assert [each.bytes for each in memory] == sorted((each.bytes for each in memory), reverse=True)
    assert [each.kind for each in seen.findings if each.resource == "disk"] == ["disk", "reclaimable"]
    assert seen.findings[-1].resource == "disk"
    assert "the host's RAM is the constraint" in seen.summary
    assert [each.next for each in memory if each.kind == "at-risk"] == ["opsctl logs a"]


def oom(victim: str, scope: str, **more: object) -> OomEvent:
    event = OomEvent(
        "2026-11-20T19:26:07+00:00", 0, scope, victim * 8, "python3", 47 * MB, "", None, "java", 900 * MB, False, "x"
    )
    return replace(event, **more)  # type: ignore[arg-type]


def test_oom_kills_by_a_containers_own_limit_and_by_the_host() -> None:
    events = (
        oom("a", "limit", limit_id="a" * 8, limit=42 * MB),
        oom("a", "limit", limit_id="a" * 8, limit=42 * MB),
        oom("b", "host"),
        oom("c", "host", boot=-1, time=""),
        oom("b", "host", largest_is_victim=True),
    )
    seen = made(container("a", 20, 42), container("b", 90, 200), ooms=events)
    assert [(each.victim, each.culprit, each.scope) for each in seen.ooms or ()] == [
        ("a", "a", "limit"),
        ("a", "a", "limit"),
        ("b", "java", "host"),
        ("removed container cccccccc", "java", "host"),
        ("b", "b (java)", "host"),
    ]
    texts = [each.text for each in seen.findings if each.kind == "oom"]
    assert any("killed 2 times" in text and "own limit of 42 MB" in text for text in texts)
    assert any("b (java) held most (900 MB)" in text for text in texts)
    assert any("before the last boot" in text for text in texts)
    assert {each.label: each.oom_kills for each in seen.containers} == {"a": 2, "b": 2}
    assert "the host ran out" in seen.summary


def test_swap_that_lies_idle_is_no_finding_and_pressure_is() -> None:
    swap = {**MEMINFO, "SwapTotal": 1000 * MB, "SwapFree": 500 * MB}
    assert not [each for each in made(meminfo=swap).findings if each.kind in ("swap", "pressure")]
    stalled = Pressure((9.0, 12.4, 3.0), (1.0, 2.0, 0.0), 1, 1)
    seen = made(meminfo=swap, pressure=stalled, vmstat={"pswpin": 100_000, "pswpout": 5})
    assert {"swap", "pressure"} <= {each.kind for each in seen.findings}
    assert seen.host.swapped_in == 100_000 * 4096


def test_an_engine_that_does_not_answer_is_an_error_beside_the_hosts_figures() -> None:
    seen = made(engine_problem="denied", engine="")
    error = engine_error(seen)
    assert error is not None
    assert (error.code, bool(error.what and error.why and error.next)) == ("engine-denied", True)
    assert seen.host.available == 1100 * MB
    assert engine_error(made()) is None


def test_what_is_not_known_is_said() -> None:
    seen = made(container("a", 1, 99, peak=None), root_user=False, ooms=None, daemons=None, services=None)
    text = " ".join(seen.notes)
    for word in ("without root", "kernel log", "peaks are unknown", "--disk-wait"):
        assert word in text
