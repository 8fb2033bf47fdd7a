"""Memory cgroups, version 1 and 2, from the text of their files."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.docker.procfs import parse_pressure
from opsctl.model.memory_facts import RootCgroup, Usage

# What the kernel holds for a cgroup and cannot give back (v2); `sock` is not in the host's own counters.
_HOST_COUNTED = ("kernel_stack", "pagetables", "sec_pagetables", "percpu", "slab_unreclaimable", "vmalloc")
_UNLIMITED_FROM = 1 << 60


def usage(version: int, files: Mapping[str, str]) -> Usage:
    """One cgroup's figures from its files by name."""
    return _usage_v1(files) if version == 1 else _usage_v2(files)


def root_cgroup(version: int, files: Mapping[str, str]) -> RootCgroup:
    """The top of what this view can see."""
    stat = flat(files.get("memory.stat"))
    if version == 1:
        shmem = stat.get("total_shmem")
        return RootCgroup(
            anon=stat.get("total_rss"),
            shmem=shmem,
            cache=_minus(stat.get("total_cache"), shmem),
            kernel=_number(files.get("memory.kmem.usage_in_bytes")),
            kernel_reclaimable=None,
        )
    return RootCgroup(
        anon=stat.get("anon"),
        shmem=stat.get("shmem"),
        cache=_minus(stat.get("file"), stat.get("shmem")),
        kernel=_kernel(stat),
        kernel_reclaimable=stat.get("slab_reclaimable"),
    )


def _usage_v1(files: Mapping[str, str]) -> Usage:
    stat = flat(files.get("memory.stat"))
    rss, shmem = stat.get("total_rss"), stat.get("total_shmem")
    return Usage(
        used=_without(_number(files.get("memory.usage_in_bytes")), stat.get("total_inactive_file")),
        unreclaimable=None if rss is None or shmem is None else rss + shmem,
        kernel=0,  # charged apart (kmem), and told of by the host's own counters
        shmem=shmem,
        cache=_minus(stat.get("total_cache"), shmem),
        limit=_limit(files.get("memory.limit_in_bytes")),
        swap=stat.get("total_swap"),
        peak=_number(files.get("memory.max_usage_in_bytes")),
        oom_kills=flat(files.get("memory.oom_control")).get("oom_kill"),
        limit_hits=_number(files.get("memory.failcnt")),
    )


def _usage_v2(files: Mapping[str, str]) -> Usage:
    stat, events = flat(files.get("memory.stat")), flat(files.get("memory.events"))
    anon, shmem, kernel = stat.get("anon"), stat.get("shmem"), _kernel(stat)
    known = anon is not None and shmem is not None and kernel is not None
    return Usage(
        used=_without(_number(files.get("memory.current")), stat.get("inactive_file")),
        unreclaimable=(anon or 0) + (shmem or 0) + (kernel or 0) + stat.get("sock", 0) if known else None,
        kernel=kernel,
        shmem=shmem,
        cache=_minus(stat.get("file"), shmem),
        limit=_limit(files.get("memory.max")),
        swap=_number(files.get("memory.swap.current")),
        peak=_number(files.get("memory.peak")),
        oom_kills=events.get("oom_kill"),
        limit_hits=events.get("max"),
        pressure=parse_pressure(files.get("memory.pressure", "")),
    )


def _kernel(stat: Mapping[str, int]) -> int | None:
    if "kernel_stack" not in stat or "slab_unreclaimable" not in stat:
        return None
    return sum(stat.get(key, 0) for key in _HOST_COUNTED)


def flat(text: str | None) -> dict[str, int]:
    """`key value` lines; anything else is skipped."""
    found = {}
    for line in (text or "").splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def _number(text: str | None) -> int | None:
    stripped = (text or "").strip()
    return int(stripped) if stripped.isdigit() else None


def _limit(text: str | None) -> int | None:
    """0 for none: `max`, or the huge number cgroup v1 writes instead."""
    if (text or "").strip() == "max":
        return 0
    value = _number(text)
    return 0 if value is not None and value >= _UNLIMITED_FROM else value


def _without(usage_bytes: int | None, inactive: int | None) -> int | None:
    """What `docker stats` shows: inactive file pages taken off, unless they are more than the whole."""
    if usage_bytes is None or inactive is None:
        return usage_bytes
    return usage_bytes - inactive if inactive < usage_bytes else usage_bytes


def _minus(whole: int | None, part: int | None) -> int | None:
    return None if whole is None or part is None else max(0, whole - part)
