"""Figures of a memory cgroup from the text of its files."""

from __future__ import annotations

from opsctl.docker.cgroup import root_cgroup, usage

V1_STAT = """cache 9437184
rss 1000
total_cache 9437184
total_rss 50331648
total_shmem 8388608
total_inactive_file 524288
total_active_file 524288
total_swap 4096"""

V2_STAT = """anon 50331648
file 9437184
kernel 3000000
kernel_stack 163840
pagetables 204800
sec_pagetables 0
percpu 8192
sock 4096
vmalloc 0
shmem 8388608
inactive_file 524288
active_file 524288
slab_reclaimable 900000
slab_unreclaimable 300000"""

PRESSURE = """some avg10=1.50 avg60=0.70 avg300=0.10 total=123
full avg10=0.00 avg60=0.00 avg300=0.00 total=45"""


def v1(**files: str) -> dict[str, str]:
    return {
        "memory.usage_in_bytes": "60000000",
        "memory.limit_in_bytes": "268435456",
        "memory.max_usage_in_bytes": "70000000",
        "memory.failcnt": "3",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2",
        "memory.stat": V1_STAT,
        **files,
    }


def v2(**files: str) -> dict[str, str]:
    return {
        "memory.current": "63000000",
        "memory.max": "268435456",
        "memory.peak": "70000000",
        "memory.swap.current": "4096",
        "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0",
        "memory.stat": V2_STAT,
        "memory.pressure": PRESSURE,
        **files,
    }


def test_version_1() -> None:
    seen = usage(1, v1())
    assert seen.used == 60000000 - 524288
    assert seen.unreclaimable == 50331648 + 8388608
    assert (seen.limit, seen.peak, seen.swap) == (268435456, 70000000, 4096)
    assert (seen.oom_kills, seen.limit_hits) == (2, 3)
    assert seen.cache == 9437184 - 8388608


def test_version_2() -> None:
    seen = usage(2, v2())
    assert seen.used == 63000000 - 524288
    assert seen.kernel == 163840 + 204800 + 8192 + 300000
    assert seen.unreclaimable == 50331648 + 8388608 + seen.kernel + 4096
    assert (seen.limit, seen.peak, seen.swap) == (268435456, 70000000, 4096)
    assert (seen.oom_kills, seen.limit_hits) == (2, 3)
    assert seen.pressure is not None
    assert seen.pressure.some == (1.5, 0.7, 0.1)
    assert seen.pressure.full_total == 45


def test_no_limit_is_zero_however_it_is_written() -> None:
    assert usage(1, v1(**{"memory.limit_in_bytes": "9223372036854771712"})).limit == 0
    assert usage(2, v2(**{"memory.max": "max"})).limit == 0


def test_a_limit_above_the_ram_is_kept_as_it_is() -> None:
    assert usage(1, v1(**{"memory.limit_in_bytes": str(64 << 30)})).limit == 64 << 30


def test_what_is_missing_is_unknown_and_never_zero() -> None:
    old = v2()
    for gone in ("memory.peak", "memory.swap.current", "memory.pressure"):
        del old[gone]
    seen = usage(2, old)
    assert seen.peak is None
    assert seen.swap is None
    assert seen.pressure is None
    assert usage(2, {}).unreclaimable is None
    assert usage(1, {}).used is None
    assert usage(1, v1(**{"memory.stat": "total_rss 5"})).unreclaimable is None  # no total_shmem: an old kernel


def test_inactive_pages_are_taken_off_only_when_there_are_fewer_than_pages_in_use() -> None:
    # The counters of a cgroup are not read at one instant: the part can be more than the whole.
    assert usage(1, v1(**{"memory.usage_in_bytes": "500000"})).used == 500000


def test_the_root_of_a_droplet_that_is_a_container() -> None:
    seen = root_cgroup(1, {"memory.stat": V1_STAT, "memory.kmem.usage_in_bytes": "42000000"})
    assert (seen.anon, seen.shmem, seen.cache, seen.kernel) == (50331648, 8388608, 9437184 - 8388608, 42000000)
    newer = root_cgroup(2, {"memory.stat": V2_STAT})
    assert newer.kernel_reclaimable == 900000
    assert root_cgroup(2, {}).kernel is None
