"""Where a droplet's memory goes: one read, a ledger that adds up, verdicts and findings."""

from __future__ import annotations

from datetime import UTC, datetime

from opsctl.jobs.memory_findings import findings, summary
from opsctl.jobs.memory_ledger import ledger
from opsctl.jobs.memory_verdicts import container_memory, limits
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ErrorInfo
from opsctl.model.memory import DiskPlace, DiskReport, HostMemory, MemoryReport, OomKill
from opsctl.model.memory_facts import DiskFacts, MemoryFacts, MemoryReader, MemorySample, OomEvent
from opsctl.model.ports import Shell
from opsctl.model.stack import Droplet, Stack

PATIENCE = 0.8
"""Seconds the engine gets for its disk figures: they walk the disk, and the report should not wait for that."""

_PAGE = 4096


def collect(
    shell: Shell, reader: MemoryReader, stack: Stack, droplet: Droplet, *, cancel: Cancel, patience: float = PATIENCE
) -> MemoryReport:
    """Read a droplet and say where its memory goes; changes nothing. Raises OpsError."""
    return report(reader.read(shell, cancel=cancel, patience=patience), stack, droplet, patience=patience)


def sample(shell: Shell, reader: MemoryReader, *, cancel: Cancel) -> MemorySample:
    """What is available and what each running container holds, in the quickest way. Raises OpsError."""
    return reader.sample(shell, cancel=cancel)


def report(facts: MemoryFacts, stack: Stack, droplet: Droplet, *, patience: float = PATIENCE) -> MemoryReport:
    """The report that follows from what was read; pure."""
    containers = container_memory(facts, stack)
    host, disk, ooms = _host(facts, droplet), _disk(facts.disk), _ooms(facts)
    rows, together = ledger(facts), limits(containers, host.total)
    flag = f" -d {droplet.name}" if len(stack.droplets) > 1 else ""
    return MemoryReport(
        droplet=droplet.name,
        taken=datetime.fromtimestamp(facts.taken, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        summary=summary(host, containers, ooms),
        host=host,
        ledger=rows,
        containers=containers,
        limits=together,
        ooms=ooms,
        oom_source=facts.oom_source,
        disk=disk,
        findings=findings(host, rows, containers, together, ooms or (), disk, flag=flag),
        notes=_notes(facts, disk, patience),
    )


def engine_error(seen: MemoryReport) -> ErrorInfo | None:
    """The error beside a report that could only tell about the host."""
    reasons = {
        "none": ("no Docker engine answers", "there is no socket at the usual places: it is down, or not installed"),
        "denied": ("Docker's socket may not be used", "the user has no right to write to it"),
        "down": ("the Docker engine does not answer", "its socket is there, but nobody listens"),
        "no-client": ("the Docker engine could not be asked", "neither curl nor the docker command is installed"),
    }
    if seen.host.engine_problem not in reasons:
        return None
    what, why = reasons[seen.host.engine_problem]
    following = "opsctl why" if seen.host.engine_problem in ("none", "down") else "opsctl doctor"
    return ErrorInfo(f"engine-{seen.host.engine_problem}", f"{what} on {seen.droplet}", why, following)


def _host(facts: MemoryFacts, droplet: Droplet) -> HostMemory:
    info, own = facts.meminfo, not facts.nested
    total, available = info.get("MemTotal", 0), info.get("MemAvailable", 0)
    swap, swap_free = info.get("SwapTotal"), info.get("SwapFree")
    return HostMemory(
        name=facts.hostname,
        kernel=facts.kernel,
        engine=facts.engine,
        engine_problem=facts.engine_problem,
        cgroup_version=facts.cgroup_version,
        nested=facts.nested,
        boot_id=facts.boot_id,
        uptime=facts.uptime,
        total=total,
        available=available,
        used=total - available,
        free=info.get("MemFree", 0),
        swap_total=swap,
        swap_used=None if swap is None or swap_free is None else swap - swap_free,
        swapped_in=_pages(facts, "pswpin") if own else None,
        swapped_out=_pages(facts, "pswpout") if own else None,
        oom_kills=facts.vmstat.get("oom_kill") if own else None,
        pressure=facts.pressure if own else None,
        reserve=droplet.reserve,
    )


def _pages(facts: MemoryFacts, key: str) -> int | None:
    return facts.vmstat[key] * _PAGE if key in facts.vmstat else None


def _disk(facts: DiskFacts) -> DiskReport:
    places = tuple(
        DiskPlace(each.path, each.size, each.used, each.available, each.used / max(1, each.used + each.available))
        for each in facts.filesystems
    )
    known = [use.reclaimable for use in (facts.images, facts.build_cache) if use is not None]
    return DiskReport(places, facts.images, facts.volumes, facts.build_cache, facts.logs, sum(known) if known else None)


def _ooms(facts: MemoryFacts) -> tuple[OomKill, ...] | None:
    """The kernel's kills by name; the latest last."""
    if facts.ooms is None:
        return None
    names = {each.id: each.service or each.name for each in facts.containers}
    return tuple(_oom(event, names) for event in facts.ooms)


def _oom(event: OomEvent, names: dict[str, str]) -> OomKill:
    """The culprit is who was over its own limit, or who held most when the host ran out."""
    victim = names.get(event.victim_id, f"removed container {event.victim_id[:12]}" if event.victim_id else "the host")
    own = event.scope == "limit"
    largest = f"{victim} ({event.largest_process})" if event.largest_is_victim else event.largest_process
    culprit = names.get(event.limit_id, victim) if own else largest
    return OomKill(
        time=event.time,
        boot=event.boot,
        scope=event.scope,
        victim=victim,
        victim_process=event.victim_process,
        victim_bytes=event.victim_bytes,
        culprit=culprit,
        culprit_bytes=event.limit if own and event.limit else event.largest_bytes,
        limit=event.limit,
        invoked_by=event.invoked_by,
    )


def _notes(facts: MemoryFacts, disk: DiskReport, patience: float) -> tuple[str, ...]:
    """What is unknown here, and why."""
    notes = []
    if facts.nested:
        notes.append(
            "this droplet is a container: pressure, swap traffic and the kernel's own counters are the whole machine's "
            "and left out; the kernel row is what its cgroup is charged"
        )
    if not facts.root_user:
        notes.append("read without root: Docker's own processes, services and log sizes may be unknown (needs sudo)")
    if facts.ooms is None:
        notes.append("the kernel log may not be read: OOM history unknown (needs sudo)")
    if not facts.engine_problem and None in (disk.images, disk.volumes):
        late = f"the engine had no answer about its disk within {patience:g} s: ask again with --disk-wait 30"
        notes.append("images and volumes are not counted: curl is missing there" if facts.engine_via == "cli" else late)
    running = [each.memory for each in facts.containers if each.running]
    if running and facts.cgroup_version == 2 and all(each is None or each.peak is None for each in running):
        notes.append(f"peaks are unknown: kernel {facts.kernel} keeps none (5.19 and later do)")
    return tuple(notes)
