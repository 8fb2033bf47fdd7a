"""The ledger: where MemTotal goes, every row measured on its own (docs/memory.md says how and why)."""

from __future__ import annotations

from collections.abc import Iterable

from opsctl.model.memory import Ledger, LedgerItem, LedgerRow
from opsctl.model.memory_facts import Group, MemoryFacts

_MEMINFO = "/proc/meminfo"
_SMALL = 1_000_000  # single programs below this are summed up under one name


def ledger(facts: MemoryFacts) -> Ledger:
    """All rows and what they leave. An unknown row makes the residual unknown: nothing is guessed."""
    total = facts.meminfo.get("MemTotal", 0)
    kernel = _kernel_of_container(facts) if facts.nested else _kernel(facts)
    cache = _cache_of_container(facts) if facts.nested else _cache(facts)
    rows = (_containers(facts), _docker(facts), _services(facts), kernel, cache, _free(facts))
    sizes = [row.bytes for row in rows]
    residual = None if None in sizes else total - sum(size or 0 for size in sizes)
    return Ledger(total, rows, residual, residual / total if residual is not None and total else None)


def _containers(facts: MemoryFacts) -> LedgerRow:
    files = "total_rss + total_shmem" if facts.cgroup_version == 1 else "anon + shmem + kernel memory + sock"
    source = f"cgroup memory.stat: {files}"
    items = tuple(
        LedgerItem(each.service or each.name, each.memory.unreclaimable if each.memory else None, source)
        for each in facts.containers
        if each.running
    )
    known = _sum(item.bytes for item in items) if not facts.engine_problem else None
    return LedgerRow("containers", "containers", known, source, _largest_first(items))


def _docker(facts: MemoryFacts) -> LedgerRow:
    return _groups("docker", "Docker itself", facts.daemons, facts.daemons_source, ())


def _services(facts: MemoryFacts) -> LedgerRow:
    """Everything else that runs, and the tmpfs of nobody in particular."""
    inside = _sum(each.memory.shmem if each.memory else None for each in facts.containers if each.running)
    everywhere = facts.root.shmem if facts.nested else facts.meminfo.get("Shmem")
    where = "root cgroup shmem" if facts.nested else f"{_MEMINFO} Shmem"
    outside = None if inside is None or everywhere is None else max(0, everywhere - inside)
    shared = LedgerItem("tmpfs and shared memory", outside, f"{where} less what is charged to containers")
    return _groups("services", "services", facts.services, facts.services_source, (shared,))


def _groups(
    key: str, title: str, groups: tuple[Group, ...] | None, source: str, more: tuple[LedgerItem, ...]
) -> LedgerRow:
    if groups is None:
        return LedgerRow(key, title, None, source, more)
    named = [LedgerItem(each.name, each.anon, source) for each in groups if each.anon >= _SMALL]
    if rest := sum(each.anon for each in groups if each.anon < _SMALL):
        named.append(LedgerItem("others below 1 MB each", rest, source))
    items = (*named, *more)
    return LedgerRow(key, title, _sum(item.bytes for item in items), source, _largest_first(items))


def _kernel(facts: MemoryFacts) -> LedgerRow:
    """What the kernel holds and cannot give back, less what containers are charged for (their row has it)."""
    info, stacks = facts.meminfo, facts.meminfo.get("KernelStack", 0)
    page = 4096
    items = [
        LedgerItem(name, info.get(key, 0), f"{_MEMINFO} {key}")
        for name, key in (
            ("slab", "SUnreclaim"),
            ("kernel stacks", "KernelStack"),
            ("page tables", "PageTables"),
            ("secondary page tables", "SecPageTables"),
            ("per-CPU", "Percpu"),
            ("huge pages set aside", "Hugetlb"),
        )
        if info.get(key, 0) or key == "SUnreclaim"
    ]
    # VmallocUsed counts the kernel stacks too (they live in vmalloc space).
    items.append(
        LedgerItem("vmalloc", max(0, info.get("VmallocUsed", 0) - stacks), f"{_MEMINFO} VmallocUsed less KernelStack")
    )
    if zspages := facts.vmstat.get("nr_zspages", 0):
        items.append(LedgerItem("compressed swap (zram, zswap)", zspages * page, "/proc/vmstat nr_zspages"))
    charged = _sum(each.memory.kernel if each.memory else None for each in facts.containers if each.running)
    if charged:
        items.append(LedgerItem("counted with containers", -charged, "cgroup memory.stat: kernel memory"))
    known = "SUnreclaim" in info and charged is not None
    source = f"{_MEMINFO}: SUnreclaim, KernelStack, PageTables, Percpu, VmallocUsed; /proc/vmstat nr_zspages"
    return LedgerRow("kernel", "kernel", _sum(item.bytes for item in items) if known else None, source, tuple(items))


def _kernel_of_container(facts: MemoryFacts) -> LedgerRow:
    """In a droplet that is a container /proc/meminfo's kernel figures are not its own; its cgroup's are."""
    charged = _sum(each.memory.kernel if each.memory else None for each in facts.containers if each.running)
    own = facts.root.kernel
    source = (
        "root cgroup memory.kmem.usage_in_bytes (its reclaimable part included)"
        if facts.cgroup_version == 1
        else "root cgroup memory.stat: kernel memory, less what is charged to containers"
    )
    return LedgerRow("kernel", "kernel", None if own is None or charged is None else max(0, own - charged), source)


def _cache(facts: MemoryFacts) -> LedgerRow:
    info = facts.meminfo
    cached, shmem = info.get("Cached"), info.get("Shmem")
    if cached is None or shmem is None:
        return LedgerRow("cache", "cache", None, _MEMINFO)
    slab = "KReclaimable" if "KReclaimable" in info else "SReclaimable"
    # A page in the swap cache is counted with its process while it is mapped: only the others are cache.
    loose = info.get("Active(anon)", 0) + info.get("Inactive(anon)", 0) - info.get("AnonPages", 0) - shmem
    items = [
        LedgerItem("files", cached - shmem, f"{_MEMINFO} Cached less Shmem"),
        LedgerItem("buffers", info.get("Buffers", 0), f"{_MEMINFO} Buffers"),
        LedgerItem("reclaimable slab", info.get(slab, 0), f"{_MEMINFO} {slab}"),
    ]
    if swapped := min(info.get("SwapCached", 0), max(0, loose)):
        items.append(LedgerItem("swap cache", swapped, f"{_MEMINFO} SwapCached that no process maps"))
    source = f"{_MEMINFO}: Cached less Shmem, Buffers, {slab}"
    return LedgerRow("cache", "cache", _sum(item.bytes for item in items), source, tuple(items))


def _cache_of_container(facts: MemoryFacts) -> LedgerRow:
    size, slab = facts.root.cache, facts.root.kernel_reclaimable
    source = "root cgroup memory.stat: cache less shmem"
    return LedgerRow("cache", "cache", None if size is None else size + (slab or 0), source)


def _free(facts: MemoryFacts) -> LedgerRow:
    return LedgerRow("free", "free", facts.meminfo.get("MemFree"), f"{_MEMINFO} MemFree")


def _sum(sizes: Iterable[int | None]) -> int | None:
    """The sum, or None as soon as one of them is unknown."""
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _largest_first(items: Iterable[LedgerItem]) -> tuple[LedgerItem, ...]:
    return tuple(sorted(items, key=lambda item: -(item.bytes or 0)))
